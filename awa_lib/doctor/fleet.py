"""The checks of the fleet."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Declared, Fleet, Holder
    from awa_lib.doctor.limits import Limits
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["descriptors", "leader", "versions", "workers"]

# One and a half of the snapshots that workers publish: one that was killed leads no longer.
_FRESH_SECONDS: Final = 15


def leader(fleet: Fleet, limits: Limits) -> Iterator[Finding]:
    """Find no leader, several, and a lock that leads nobody."""
    newest = max((one.last_seen_at for one in fleet.live), default=None)
    leading = [
        one
        for one in fleet.live
        if one.leader and newest and (newest - one.last_seen_at).total_seconds() < _FRESH_SECONDS
    ]
    settled = [
        one for one in fleet.live if not one.shutting_down and _age(one) > limits.settled_seconds
    ]
    if len(leading) > 1:
        yield Finding(
            "leader",
            Severity.warning,
            f"{len(leading)} workers say that they lead: {', '.join(map(_name, leading))}",
            "the lock of each is with another server: a pooler, or two servers that both take "
            "writes",
            "awa doctor --check pooler",
        )
    if leading:
        return
    if fleet.lock:
        yield from _kept(fleet.lock[0], limits, settled=bool(settled))
    elif settled:
        yield Finding(
            "leader",
            Severity.error,
            "no worker leads",
            "nobody rescues, promotes, fires schedules or cleans up; their logs say why the "
            "election fails",
            "awa workers --all -o wide",
        )


def _kept(holder: Holder, limits: Limits, *, settled: bool) -> Iterator[Finding]:
    """Judge a lock without a leader: who leads uses its session twice a minute."""
    idle = holder.idle_seconds is not None and holder.idle_seconds > limits.settled_seconds
    # A leader that has just been elected says so within ten seconds.
    if not (idle or settled):
        return
    who = f"{holder.application or 'no name'}, role {holder.role}"
    yield Finding(
        "leader",
        Severity.error if idle else Severity.warning,
        f"session {holder.pid} ({who}) keeps the leader's lock, and no live worker leads",
        "a pooler keeps the session of a worker that went, or the worker hangs; nobody rescues, "
        "promotes or fires schedules",
        advise(sql.advice("terminate"), pid=literal(holder.pid)),
        str(holder.pid),
    )


def workers(fleet: Fleet) -> Iterator[Finding]:
    """Find workers that are not well, and no workers."""
    for one in fleet.live:
        # The first snapshot comes before the loops run.
        if one.healthy or one.shutting_down or 2000 * _age(one) < one.snapshot_interval_ms:
            continue
        loops = {
            "database": one.postgres_connected, "poll": one.poll_loop_alive,
            "heartbeat": one.heartbeat_alive, "maintenance": one.maintenance_alive,
        }  # fmt: skip
        down = ", ".join(name for name, alive in loops.items() if not alive)
        yield Finding(
            "workers",
            Severity.error,
            f"the worker {_name(one)} is not healthy",
            f"stopped: {down}; its log says why" if down else "its log says why",
            "awa workers -o wide",
            _name(one),
        )
    if not fleet.live:
        yield Finding(
            "workers",
            Severity.note,
            "no worker runs",
            "nobody works jobs, rescues or fires schedules",
            "awa worker MODULE:CLIENT",
        )


def versions(fleet: Fleet) -> Iterator[Finding]:
    """Find several releases, and workers of another storage engine."""
    found = sorted({one.version for one in fleet.live})
    if len(found) > 1:
        yield Finding(
            "versions",
            Severity.note,
            f"the fleet runs {len(found)} releases: {', '.join(found)}",
            "a deploy is half-way, or was forgotten",
            "awa workers",
        )
    for one in fleet.live:
        if one.storage_capability != "canonical":
            yield Finding(
                "versions",
                Severity.warning,
                f"the worker {_name(one)}, release {one.version}, has another storage engine",
                f"it reports {one.storage_capability}: jobs may move where this release sees none",
                "awa storage status",
                _name(one),
            )


def descriptors(fleet: Fleet) -> Iterator[Finding]:
    """Find queues and kinds that live workers describe differently."""
    yield from _differing("queue", fleet.queues)
    yield from _differing("kind", fleet.kinds)


def _differing(noun: str, declared: list[Declared]) -> Iterator[Finding]:
    for one in declared:
        if one.drift:
            yield Finding(
                "descriptors",
                Severity.warning,
                f"live workers describe the {noun} {one.name} differently",
                "a deploy is half-way, or was forgotten; the last one to write wins",
                f"awa {noun} show {shlex.quote(one.name)}",
                one.name,
            )


def _name(one: RuntimeInstance) -> str:
    return f"{one.hostname or 'unknown host'}:{one.pid}"


def _age(one: RuntimeInstance) -> float:
    return (one.last_seen_at - one.started_at).total_seconds()
