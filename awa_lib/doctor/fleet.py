"""Check the worker fleet."""

from __future__ import annotations

import shlex
from functools import partial
from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, literal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from awa_lib.doctor.facts import Declared, Fleet, Holder
    from awa_lib.doctor.limits import Limits
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["descriptors", "leader", "versions", "workers"]

# One and a half times the interval of the workers' snapshots: a leader that was killed is older.
_FRESH_SECONDS: Final = 15


def leader(fleet: Fleet, limits: Limits) -> Iterator[Finding]:
    """Find no leader, several leaders, or a held lock without a leader."""
    newest = max((worker.last_seen_at for worker in fleet.live), default=None)
    leading = [
        worker
        for worker in fleet.live
        if worker.leader
        and newest
        and (newest - worker.last_seen_at).total_seconds() < _FRESH_SECONDS
    ]
    settled = any(
        not worker.shutting_down and _age(worker) > limits.settled_seconds for worker in fleet.live
    )
    if len(leading) > 1:
        yield Finding(
            "leader",
            Severity.warning,
            f"{len(leading)} workers report that they lead: {', '.join(map(_name, leading))}",
            "each holds the leader lock of a different session or server: behind a pooler, or on "
            "two servers that both accept writes",
            "awa doctor --check pooler",
        )
    # Another leader is elected within seconds after the death of one.
    dead = [worker for worker in fleet.silent if worker.leader]
    electing = any((fleet.now - one.last_seen_at).total_seconds() < _FRESH_SECONDS for one in dead)
    if leading or electing:
        return
    if fleet.lock:
        yield from _held(fleet.lock[0], limits, settled=settled)
    elif settled:
        yield Finding(
            "leader",
            Severity.error,
            "no worker leads",
            "jobs are not rescued or promoted, schedules do not fire, and old jobs are not "
            "deleted; the workers' logs say why the election fails",
            "awa workers --all -o wide",
        )


def _held(holder: Holder, limits: Limits, *, settled: bool) -> Iterator[Finding]:
    """Judge a lock without a leader: a leader uses its session twice a minute."""
    idle = holder.idle_seconds is not None and holder.idle_seconds > limits.settled_seconds
    # A new leader reports itself within ten seconds.
    if not (idle or settled):
        return
    session = f"{holder.application or 'no name'}, role {holder.role}"
    yield Finding(
        "leader",
        Severity.error if idle else Severity.warning,
        f"session {holder.pid} ({session}) holds the leader lock, and no live worker leads",
        "a pooler kept the session of a worker that stopped, or the worker hangs; jobs are not "
        "rescued or promoted, and schedules do not fire",
        advise(sql.advice("terminate"), pid=literal(holder.pid)),
        str(holder.pid),
    )


def workers(fleet: Fleet) -> Iterator[Finding]:
    """Find unhealthy and silent workers, or that no worker runs."""
    yield from map(partial(_silent, now=fleet.now), fleet.silent)
    for worker in fleet.live:
        if worker.healthy or worker.shutting_down:
            continue
        # The first snapshot is written before the loops run.
        if 2000 * _age(worker) < worker.snapshot_interval_ms:
            continue
        loops = {
            "database": worker.postgres_connected,
            "poll": worker.poll_loop_alive,
            "heartbeat": worker.heartbeat_alive,
            "maintenance": worker.maintenance_alive,
        }
        down = ", ".join(name for name, alive in loops.items() if not alive)
        yield Finding(
            "workers",
            Severity.error,
            f"the worker {_name(worker)} is not healthy",
            f"stopped: {down}; its log says why" if down else "its log says why",
            "awa workers -o wide",
            _name(worker),
        )
    if not fleet.live:
        yield Finding(
            "workers",
            Severity.note,
            "no worker runs",
            "jobs are not run or rescued, and schedules do not fire",
            "awa worker MODULE:CLIENT",
        )


def _silent(worker: RuntimeInstance, now: datetime) -> Finding:
    silent = (now - worker.last_seen_at).total_seconds()
    known = []
    if worker.session_ended:
        known.append("its session has ended")
    elif worker.rescued_at is None:
        known.append("it was killed, hangs, or is cut off from the database")
    if worker.rescued_at is not None:
        ago = (now - worker.rescued_at).total_seconds()
        known.append(f"its jobs were rescued {ago:.0f} s ago")
    elif worker.in_flight:
        known.append(f"the leader rescues its jobs, {worker.in_flight:,} when it was last seen")
    return Finding(
        "workers",
        Severity.warning,
        f"the worker {_name(worker)} has been silent for {silent:.0f} s, since "
        f"{worker.last_seen_at:%H:%M:%S} UTC",
        f"{', '.join(known)}; its log and its host say why, and something must start it again",
        "awa workers --all -o wide",
        _name(worker),
    )


def versions(fleet: Fleet) -> Iterator[Finding]:
    """Find several releases, or workers with another storage engine."""
    found = sorted({worker.version for worker in fleet.live})
    if len(found) > 1:
        yield Finding(
            "versions",
            Severity.note,
            f"the fleet runs {len(found)} releases: {', '.join(found)}",
            "a deployment is in progress, or was not completed",
            "awa workers",
        )
    for worker in fleet.live:
        if worker.storage_capability != "canonical":
            name = _name(worker)
            yield Finding(
                "versions",
                Severity.warning,
                f"the worker {name}, release {worker.version}, has another storage engine",
                f"it reports {worker.storage_capability}: jobs may be moved to tables that this "
                "release does not read",
                "awa storage status",
                name,
            )


def descriptors(fleet: Fleet) -> Iterator[Finding]:
    """Find queues and kinds whose descriptors differ between live workers."""
    yield from _differing("queue", fleet.queues)
    yield from _differing("kind", fleet.kinds)


def _differing(noun: str, declared: list[Declared]) -> Iterator[Finding]:
    for item in declared:
        if item.drift:
            yield Finding(
                "descriptors",
                Severity.warning,
                f"live workers declare different descriptors of the {noun} {item.name}",
                "a deployment is in progress, or was not completed; the last worker to write wins",
                f"awa {noun} show {shlex.quote(item.name)}",
                item.name,
            )


def _name(worker: RuntimeInstance) -> str:
    return f"{worker.hostname or 'unknown host'}:{worker.pid}"


def _age(worker: RuntimeInstance) -> float:
    return (worker.last_seen_at - worker.started_at).total_seconds()
