"""Publish the state of a worker process; the fleet's leader lock."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from awa_lib._json import dumps
from awa_lib._sql import sql
from awa_lib.descriptors import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = [
    "Descriptors",
    "InstanceSnapshot",
    "described",
    "listening_channels",
    "publish_instance",
    "step_down",
    "sync_descriptors",
    "try_lead",
    "try_lead_in_transaction",
]

SNAPSHOT_INTERVAL_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class InstanceSnapshot:
    """The state of a worker process; ``queues`` in the shape of awa 0.5."""

    instance_id: str
    hostname: str | None
    pid: int
    version: str
    started_at: datetime
    healthy: bool
    postgres_connected: bool
    poll_loop_alive: bool
    heartbeat_alive: bool
    maintenance_alive: bool
    shutting_down: bool
    leader: bool
    global_max_workers: int | None
    queues: list[dict[str, Any]]
    kinds: list[str]


class Descriptors:
    """Descriptors of queues or kinds as the statements take them, encoded once."""

    def __init__(self, described: Mapping[str, Descriptor]) -> None:
        hashes = {name: descriptor.hash for name, descriptor in described.items()}
        self.hashes: Final = dumps(hashes)
        self.records: Final = dumps(
            [
                {"name": name, "hash": hashes[name], **asdict(descriptor)}
                for name, descriptor in described.items()
            ]
        )


def publish_instance(
    snapshot: InstanceSnapshot, queues: Descriptors, kinds: Descriptors
) -> Op[None]:
    """Upsert the process's row in awa.runtime_instances."""
    columns = {f.name: getattr(snapshot, f.name) for f in fields(snapshot) if f.name != "kinds"}
    columns["queues"] = dumps(snapshot.queues)
    yield sql.runtime(
        "publish_instance",
        **columns,
        snapshot_interval_ms=SNAPSHOT_INTERVAL_MS,
        queue_hashes=queues.hashes,
        kind_hashes=kinds.hashes,
    )


def sync_descriptors(queues: Descriptors, kinds: Descriptors) -> Op[None]:
    """Upsert the descriptors of these queues and kinds."""
    interval = {"interval_ms": SNAPSHOT_INTERVAL_MS}
    yield sql.runtime("sync_queue_descriptors", descriptors=queues.records, **interval)
    yield sql.runtime("sync_kind_descriptors", descriptors=kinds.records, **interval)


def described(names: Iterable[str], given: Mapping[str, Descriptor]) -> dict[str, Descriptor]:
    """Return a descriptor for every name; an empty descriptor when none is given."""
    return {name: given.get(name, Descriptor()) for name in names}


def try_lead() -> Op[bool]:
    """Try to become the leader of the fleet; the lock lasts as long as the session."""
    rows = yield sql.runtime("try_lead")
    return bool(rows.scalar())


def try_lead_in_transaction(silence_ms: int) -> Op[bool]:
    """Try the same behind a pooler: the lock lasts as long as the current transaction.

    ``silence_ms`` without a statement ends the transaction.
    """
    rows = yield sql.runtime("try_lead_in_transaction", silence_ms=str(silence_ms))
    return bool(rows.scalar())


def step_down() -> Op[None]:
    """Release the leader lock, and notify the candidates."""
    yield sql.runtime("step_down")


def listening_channels() -> Op[set[str]]:
    """Return the channels that this session listens to."""
    rows = yield sql.runtime("listening_channels")
    return {row[0] for row in rows}
