"""From when on something counts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The thresholds of the checks; the defaults are those of ``awa doctor``."""

    look_seconds: float = 10
    """A look that takes longer is given up; a lock is waited for a fifth of it."""
    transaction_seconds: float = 300
    """A transaction older than this keeps too much from being vacuumed."""
    pinned_xids: int = 100_000
    """A slot or standby that is so many transactions behind does too."""
    frozen_xids: int = 1_000_000_000
    """Half of the transaction ids there are; at one and a half billion it is an error."""
    rescue_seconds: float = 240
    """The leader rescues within two minutes; twice that is too late."""
    promote_seconds: float = 60
    """The leader promotes every 250 ms."""
    settled_seconds: float = 60
    """A worker stands for election every ten seconds, and says every ten how it went."""
    waiting_seconds: float = 60
    """A job that nobody has claimed for so long may have nobody to claim it."""
    failing_seconds: float = 3600
    """Attempts that ended longer ago say nothing of a kind."""
    failing_attempts: int = 10
    """Fewer failed attempts may be chance."""
    failing_share: float = 0.9
    """A kind of which so many attempts fail does not work."""
    dead_rows: int = 10_000
    """Fewer dead rows, or rows changed without new statistics, are never worth a word."""
    bloat_bytes: int = 64 * 1024 * 1024
    """A smaller table or index is never bloated."""
    bloat_times: float = 10
    """Bloated is what takes so many times as much as its rows need."""
    bare_bytes: int = 1024 * 1024
    """A smaller table needs no statistics."""
    skew_seconds: float = 2
    """Clocks further apart than this."""
    slots_used: float = 0.8
    """Of all connection slots; nine tenths are an error."""
    ids_used: float = 0.5
    """Of all ids of jobs; nine tenths are an error."""
    pending_seconds: float = 600
    """A bulk operation that has not begun by then."""
    schedule_seconds: float = 120
    """The leader looks at schedules every second."""
    running_seconds: float = 3600
    """A bulk operation that has not ended by then."""
