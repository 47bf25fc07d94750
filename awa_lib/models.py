"""What the library returns: jobs, dead letters, bulk operations, and answers to callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from awa_lib._json import loads
from awa_lib.states import BY_NAME, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib.results import Attempt, CallbackToken

__all__ = [
    "BulkOperation",
    "DlqEntry",
    "Job",
    "JobState",
    "ResolveResult",
]

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    A = TypeVarWithDefault("A", default=Any)
else:
    A = TypeVar("A")


_UNREAD: Final = object()


def _iso(value: datetime | str) -> str:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(UTC).isoformat()


class Job(Generic[A]):
    """One job, as it was when read.  Nothing refreshes it but reading it again.

    JSON columns arrive as text and are decoded on first use, so that claiming a job costs nothing
    for fields its handler never looks at.  Times are RFC 3339 strings in UTC, as published.
    While its handler runs, ``progress`` is live and the progress methods work; elsewhere they
    raise RuntimeError.
    """

    __slots__ = (
        "_args",
        "_attempt",
        "_created_at",
        "_deadline_at",
        "_errors",
        "_finalized_at",
        "_metadata",
        "_progress",
        "_raw_args",
        "_run_at",
        "_tags",
        "attempt",
        "id",
        "kind",
        "max_attempts",
        "priority",
        "queue",
        "run_lease",
        "state",
    )

    def __init__(
        self,
        id: int,  # noqa: A002 - the column's name
        kind: str,
        queue: str,
        state: str | JobState,
        priority: int,
        attempt: int,
        max_attempts: int,
        run_lease: int,
        args: str,
        metadata: str | None,
        tags: list[str] | str | None,
        errors: str | None,
        progress: str | None,
        run_at: datetime | str,
        created_at: datetime | str,
        finalized_at: datetime | str | None = None,
        deadline_at: datetime | str | None = None,
    ) -> None:
        self.id = id
        self.kind = kind
        self.queue = queue
        self.state = BY_NAME[state] if isinstance(state, str) else state
        self.priority = priority
        self.attempt = attempt
        self.max_attempts = max_attempts
        self.run_lease = run_lease
        self._raw_args = args
        self._args: Any = _UNREAD
        self._metadata: Any = metadata
        self._tags = tags
        self._errors: Any = errors
        self._progress = progress
        self._run_at = run_at
        self._created_at = created_at
        self._finalized_at = finalized_at
        self._deadline_at = deadline_at
        self._attempt: Attempt | None = None

    @property
    def args(self) -> A:
        """The arguments: the declared type inside a handler, else plain JSON data."""
        if self._args is _UNREAD:
            self._args = loads(self._raw_args)
        return self._args  # type: ignore[no-any-return] # of the declared type by now

    @property
    def metadata(self) -> dict[str, Any]:
        """The job's metadata object."""
        if not isinstance(self._metadata, dict):
            self._metadata = loads(self._metadata) if self._metadata else {}
        return self._metadata

    @property
    def tags(self) -> list[str]:
        """The job's tags, in the order they were given."""
        if not isinstance(self._tags, list):
            self._tags = loads(self._tags) if self._tags else []
        return self._tags

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Every recorded failure, oldest first: {error, attempt, at[, terminal]}."""
        if not isinstance(self._errors, list):
            self._errors = loads(self._errors) if self._errors else []
        return self._errors

    @property
    def progress(self) -> dict[str, Any] | None:
        """The progress object {percent, message?, metadata?}, or None."""
        if self._attempt is not None:
            return self._attempt.progress
        return loads(self._progress) if self._progress else None

    @property
    def run_at(self) -> str:
        """When the job may run, or ran."""
        return _iso(self._run_at)

    @property
    def created_at(self) -> str:
        """When the job was inserted."""
        return _iso(self._created_at)

    @property
    def finalized_at(self) -> str | None:
        """When an attempt last ended the job or put it back for a retry."""
        return None if self._finalized_at is None else _iso(self._finalized_at)

    @property
    def deadline(self) -> str | None:
        """When the running attempt must have ended, if it has a deadline."""
        return None if self._deadline_at is None else _iso(self._deadline_at)

    def _running(self, verb: str) -> Attempt:
        if self._attempt is None:
            raise RuntimeError(f"{verb} is only available during job execution")
        return self._attempt

    def set_progress(self, percent: int, message: str | None = None) -> None:
        """Note progress in memory: percent 0..100 (more is clamped), message replaced.

        Written by the next heartbeat, by ``flush_progress`` and with the end of the attempt.
        Raises TypeError or ValueError for a bad percent, RuntimeError outside a run.
        """
        self._running("set_progress").set_progress(percent, message)

    def update_metadata(self, updates: Mapping[str, Any]) -> None:
        """Merge keys into ``progress["metadata"]``, the checkpoint of this job.

        In memory, like ``set_progress``; the next attempt begins with it.  Values are kept as they
        are at the call, encoded as args are.  Raises ValueError for anything but a dict,
        SerializationError that names the key, RuntimeError outside a run.
        """
        self._running("update_metadata").update_metadata(updates)

    async def flush_progress(self) -> None:
        """Write progress now.  Does nothing when the attempt no longer owns the job.

        One statement, under the lease of the attempt.  Raises Unavailable, RuntimeError outside a
        run.
        """
        await self._running("flush_progress").flush_progress()

    def flush_progress_sync(self) -> None:
        """Write progress now, from a blocking handler.

        Raises as ``flush_progress``, AwaError when it takes more than 30 s or on the event loop.
        """
        self._running("flush_progress_sync").flush_progress_sync()

    async def register_callback(
        self,
        timeout_seconds: float = 3_600.0,
        filter: str | None = None,  # noqa: A002 - the published name
        on_complete: str | None = None,
        on_fail: str | None = None,
        transform: str | None = None,
    ) -> CallbackToken:
        """Give the job a callback id for an outside system, in place of one it may have.

        Written at once; ``timeout_seconds`` run from now.  The expressions are CEL over
        ``payload``, for ``resolve_callback``.
        An attempt that takes the place of one whose worker died gets the same ids again, in the
        order they were asked for.  Raises ValidationError for a bad time-out or expression, or
        when the attempt does not own the job any more; RuntimeError outside a run.
        """
        return await self._running("register_callback").register_callback(
            timeout_seconds,
            filter=filter,
            on_complete=on_complete,
            on_fail=on_fail,
            transform=transform,
        )

    def register_callback_sync(
        self,
        timeout_seconds: float = 3_600.0,
        filter: str | None = None,  # noqa: A002 - the published name
        on_complete: str | None = None,
        on_fail: str | None = None,
        transform: str | None = None,
    ) -> CallbackToken:
        """Do what ``register_callback`` does, from a blocking handler.

        Raises as it does, AwaError when it takes more than 30 s or on the event loop.
        """
        return self._running("register_callback_sync").from_thread(
            self.register_callback(timeout_seconds, filter, on_complete, on_fail, transform)
        )

    async def wait_for_callback(self, token: CallbackToken) -> Any:
        """Wait until ``resume_external`` answers a callback and return its payload.

        The job is waiting_external meanwhile, without heartbeat or deadline, and keeps its slot.
        The deadline starts anew with the answer.  When the worker stops meanwhile, the answer
        starts a new attempt, whose handler gets it here.  Raises ValidationError when the token
        was replaced, or the job was resolved another way; RuntimeError outside a run.
        """
        return await self._running("wait_for_callback").wait_for_callback(token)

    def wait_for_callback_sync(self, token: CallbackToken) -> Any:
        """Do what ``wait_for_callback`` does, from a blocking handler; keeps its thread.

        Raises as it does, AwaError on the event loop.
        """
        return self._running("wait_for_callback_sync").from_thread(
            self.wait_for_callback(token), bounded=False
        )

    async def cancel_callback(self, token: CallbackToken) -> bool:
        """Withdraw a callback before waiting for it; return False when it is gone already.

        Raises Unavailable, RuntimeError outside a run.
        """
        return await self._running("cancel_callback").cancel_callback(token)

    def is_cancelled(self) -> bool:
        """Return True once this attempt should stop: cancel, rescue, deadline or shutdown."""
        return self._attempt is not None and self._attempt.is_cancelled()

    def __repr__(self) -> str:
        """Show what identifies the job and where it stands."""
        return (
            f"Job(id={self.id}, kind={self.kind!r}, queue={self.queue!r}, "
            f"state={self.state.name}, attempt={self.attempt})"
        )


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


@dataclass(frozen=True, slots=True)
class DlqEntry:
    """A dead letter: the job as it failed, why it is here and since when.

    ``original_run_lease`` is the lease of the attempt that failed.
    """

    job: Job
    reason: str
    dead_at: datetime
    original_run_lease: int


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """A bulk operation as it stood when read.

    ``total_matched`` was counted when it was submitted.  Jobs it came to are ``processed``
    (changed), ``skipped`` (held by somebody else to the end, or changed meanwhile) or ``errored``
    (refused one by one; ``last_error`` names the last).  Jobs that stopped to fit before it came
    to them are in none of the three.
    """

    id: str
    operation: Literal["retry", "cancel", "delete", "set_priority", "move_queue"]
    filter: dict[str, Any]
    spec: dict[str, Any]
    """What they get: priority or to_queue."""
    state: Literal["pending", "running", "completed", "cancelled", "failed"]
    cursor: int
    total_matched: int
    processed: int
    skipped: int
    errored: int
    last_error: str | None
    submitted_by: str | None
    submitted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def finished(self) -> bool:
        """Return True when nothing more will happen."""
        return self.finished_at is not None
