"""Worker processes in words: their state, and what is known of those that fell silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_cli.views.words import age, clean, counted, now, span

if TYPE_CHECKING:
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = [
    "LOOPS",
    "is_recent",
    "silence",
    "why_silent",
    "worker_name",
    "worker_state",
    "worker_trouble",
]

LOOPS: Final = {
    "database": "postgres_connected",
    "claims": "poll_loop_alive",
    "heartbeat": "heartbeat_alive",
    "maintenance": "maintenance_alive",
}
"""The loops of a worker, and the field that says whether each runs."""


def worker_name(one: RuntimeInstance) -> str:
    """Return host and process id."""
    return clean(f"{one.hostname or 'worker'}:{one.pid}")


def worker_state(one: RuntimeInstance) -> str:
    """Return stopped, silent, stopping, healthy or degraded."""
    if one.stopped:
        return "stopped"
    if one.stale:
        return "silent"
    if one.shutting_down:
        return "stopping"
    return "healthy" if one.healthy else "degraded"


def is_recent(one: RuntimeInstance) -> bool:
    """Return True for a worker that reports, or whose silence is news."""
    return not one.stale or one.is_news(now())


def silence(one: RuntimeInstance) -> str:
    """Write for how long a worker is silent, and what is known of it."""
    seconds = (now() - one.last_seen_at).total_seconds()
    return f"silent {span(max(seconds, 0))}: {why_silent(one)}"


def why_silent(one: RuntimeInstance) -> str:
    """Write what is known of a worker that fell silent."""
    known = []
    if one.session_ended:
        known.append("its session has ended")
    elif one.rescued_at is None:
        known.append("killed, hung or cut off")
    if one.rescued_at is not None:
        known.append(f"its jobs were rescued {age(one.rescued_at)}")
    elif one.in_flight:
        known.append(f"with {counted(one.in_flight)} in flight")
    return ", ".join(known)


def worker_trouble(one: RuntimeInstance) -> str | None:
    """Write why a worker is not healthy: its silence, or the loops that have stopped."""
    if one.silent:
        return silence(one)
    if one.stopped:
        return None
    down = [name for name, loop in LOOPS.items() if not getattr(one, loop)]
    return f"stopped: {', '.join(down)}" if down else None
