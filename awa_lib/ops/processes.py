"""Operations on worker processes: the numbers that their leases hold, and what they declare."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.errors import Conflict
from awa_lib.ops.leases import new_process_number

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["FORGET_BATCH", "Process", "forget_processes", "keep_process", "stop_process"]

FORGET_BATCH: Final = 1_000
# Random numbers: with a million of 16 million taken, four tries in a row fail once in 60,000 times.
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Process:
    """What a worker process says of itself when it starts."""

    instance_id: str
    hostname: str
    pid: int
    version: str
    app_version: str | None
    """The version of the application, from ``AWA_APP_VERSION``."""
    heartbeat_interval_ms: float
    heartbeat_staleness_ms: float
    """The age of its last heartbeat at which its jobs may be rescued."""


def keep_process(
    process: Process, number: int | None, started_at: datetime | None, session: int | None = None
) -> Op[tuple[int, datetime]]:
    """Insert the row of a process, or keep it; return its number and when it started.

    ``session`` is the server's process in which it reports, None behind a pooler.  A process that
    has no number, or whose number another one has got meanwhile, gets another one.  Writes once an
    hour, in another session, and when an operator has deleted the row.  Raises Conflict when no
    free number is found.
    """
    for _ in range(_TRIES):
        asked = number or new_process_number()
        rows = yield sql.runtime(
            "keep_process",
            number=asked,
            started_at=started_at,
            session=session,
            **asdict(process),
        )
        if rows:
            return asked, rows.scalar()
        number = None
    raise Conflict(
        "no free number was found for this worker process",
        why="awa.worker_processes has too many rows",
        hint="delete rows that were not seen for long: see last_seen_at",
    )


def stop_process(process: Process, number: int) -> Op[None]:
    """Note that a process has ended as it should."""
    yield sql.runtime("stop_process", number=number, instance_id=process.instance_id)


def forget_processes() -> Op[int]:
    """Delete a batch of processes not seen for 30 days; return how many."""
    rows = yield sql.maintenance("forget_processes", limit=FORGET_BATCH)
    return int(rows.scalar())
