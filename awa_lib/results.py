"""What a handler may return, and what resolving a callback gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from awa_lib.models import Job

__all__ = [
    "CallbackToken",
    "Cancel",
    "ResolveResult",
    "RetryAfter",
    "Snooze",
    "WaitForCallback",
]


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Handler result: try again in ``seconds`` (fractions count); uses up an attempt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Snooze:
    """Handler result: run again in ``seconds`` (fractions count) without using up an attempt."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Cancel:
    """Handler result: end the job as cancelled, with this reason in its errors."""

    reason: str = "cancelled by handler"


@dataclass(frozen=True, slots=True)
class CallbackToken:
    """A registered callback; ``id`` is the UUID an outside system sends back.

    ``answered`` is True when an attempt before this one asked, and the answer is there already.
    """

    id: str
    answered: bool = field(default=False, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class WaitForCallback:
    """Handler result: park the job until its registered callback is resolved."""

    token: CallbackToken

    @property
    def callback_id(self) -> str:
        """Return the id of the awaited callback."""
        return self.token.id


class ResolveResult:
    """What ``resolve_callback`` did.

    ``outcome`` is completed, failed or ignored; ``job`` is None when ignored; ``payload`` is the
    transformed one of a completion; ``reason`` says why it was ignored.
    """

    __slots__ = ("job", "outcome", "payload", "reason")

    def __init__(
        self,
        outcome: str,
        job: Job | None = None,
        payload: Any = None,
        reason: str | None = None,
    ) -> None:
        self.outcome = outcome
        self.job = job
        self.payload = payload
        self.reason = reason

    def is_completed(self) -> bool:
        """Return True when the job ended completed."""
        return self.outcome == "completed"

    def is_failed(self) -> bool:
        """Return True when the job ended failed."""
        return self.outcome == "failed"

    def is_ignored(self) -> bool:
        """Return True when the job goes on waiting."""
        return self.outcome == "ignored"

    def __repr__(self) -> str:
        """Show the outcome."""
        return f"ResolveResult(outcome={self.outcome!r})"
