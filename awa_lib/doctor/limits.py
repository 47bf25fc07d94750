"""The thresholds of the checks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The thresholds of the checks; the defaults are those of ``awa doctor``."""

    look_seconds: float = 10
    """Statement timeout of each read; its lock timeout is a fifth of this."""
    transaction_seconds: float = 300
    """A transaction older than this prevents the removal of too many dead rows."""
    pinned_xids: int = 100_000
    """So does a slot or standby that is this many transactions behind."""
    frozen_xids: int = 1_000_000_000
    """Half of all transaction ids; at 1.5 billion it is an error."""
    rescue_seconds: float = 240
    """The leader rescues within two minutes; this is twice that."""
    promote_seconds: float = 60
    """The leader promotes every 250 ms."""
    settled_seconds: float = 60
    """Workers try to lead every ten seconds, and report every ten seconds whether they do."""
    dequeue_inserts: int = 1_000_000
    """With fewer inserted jobs it is not reported that the dequeue index could be retired."""
    waiting_seconds: float = 60
    """A job that is available for longer may have no worker."""
    failing_seconds: float = 3600
    """Attempts that ended before are not counted."""
    failing_attempts: int = 10
    """With fewer failed attempts a kind is not reported."""
    failing_share: float = 0.9
    """The share of failed attempts from which on a kind is reported."""
    dead_rows: int = 10_000
    """Fewer dead rows, or rows changed since the last ANALYZE, are not reported."""
    bloat_bytes: int = 64 * 1024 * 1024
    """A smaller table or index is not reported as bloated."""
    bloat_times: float = 10
    """A bloated table or index takes this many times the space its rows need."""
    bare_bytes: int = 1024 * 1024
    """A smaller table needs no statistics."""
    skew_seconds: float = 2
    """Clocks that differ by more are reported."""
    slots_used: float = 0.8
    """The used share of connection slots; at 0.9 it is an error."""
    ids_used: float = 0.5
    """The used share of job ids; at 0.9 it is an error."""
    pending_seconds: float = 600
    """A bulk operation should have started by then."""
    schedule_seconds: float = 120
    """A schedule may be this late; the leader reads schedules every second."""
    workflow_seconds: float = 86_400
    """A workflow in which no task has run for longer is reported."""
    running_seconds: float = 3600
    """A bulk operation should have ended by then."""
