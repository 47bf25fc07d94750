"""What the library returns: jobs, dead letters, bulk operations, and answers to callbacks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar

from awa_lib._json import as_entries, as_members, loads
from awa_lib.running import RunningJob
from awa_lib.states import BY_NAME, JobState
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from awa_lib.results import Attempt

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
# The key of a job's metadata that holds the id of its workflow.
_WORKFLOW: Final = "_awa_workflow"


def _iso(value: datetime | str) -> str:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(UTC).isoformat()


class Job(RunningJob, Generic[A]):
    """A job as it was when it was read; read it again for its present state.

    JSON columns are decoded on first use, so that a claim does not pay for fields that the
    handler does not use.  Times are RFC 3339 strings in UTC.  While its handler runs, ``progress``
    is live and the progress methods work; elsewhere the methods raise RuntimeError.
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

    # Positional, in the order of a claimed row: by name it would take five times as long.
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
            self._metadata = as_members(self._metadata) if self._metadata else {}
        return self._metadata

    @property
    def workflow_id(self) -> int | None:
        """The id of the workflow that the job belongs to, or None."""
        if not self._metadata or (
            isinstance(self._metadata, str) and _WORKFLOW not in self._metadata
        ):
            return None  # spares a decode
        found = self.metadata.get(_WORKFLOW)
        # The metadata is the application's: it may hold anything there.
        is_id = type(found) is int and 0 < found <= INT64_MAX
        return found if is_id else None

    @property
    def tags(self) -> list[str]:
        """The job's tags, in the order given."""
        if not isinstance(self._tags, list):
            self._tags = loads(self._tags) if self._tags else []
        return self._tags

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The recorded failures, oldest first: {error, attempt, at[, terminal]}."""
        if not isinstance(self._errors, list):
            self._errors = as_entries(self._errors) if self._errors else []
        return self._errors

    @property
    def progress(self) -> dict[str, Any] | None:
        """The progress object {percent, message?, metadata?}, or None."""
        if self._attempt is not None:
            return self._attempt.progress
        return as_members(self._progress) if self._progress not in (None, "", "null") else None

    @property
    def run_at(self) -> str:
        """The time from which the job may run."""
        return _iso(self._run_at)

    @property
    def created_at(self) -> str:
        """The time at which the job was inserted."""
        return _iso(self._created_at)

    @property
    def finalized_at(self) -> str | None:
        """The time at which an attempt last ended the job or put it back for a retry."""
        return None if self._finalized_at is None else _iso(self._finalized_at)

    @property
    def deadline(self) -> str | None:
        """The time by which the running attempt must end, or None."""
        return None if self._deadline_at is None else _iso(self._deadline_at)

    def __repr__(self) -> str:
        """Return id, kind, queue, state and attempt."""
        return (
            f"Job(id={self.id}, kind={self.kind!r}, queue={self.queue!r}, "
            f"state={self.state.name}, attempt={self.attempt})"
        )


class ResolveResult:
    """The result of ``resolve_callback``.

    ``outcome`` is completed, failed or ignored; ``job`` is None when ignored; ``payload`` is the
    transformed payload of a completion; ``reason`` says why it was ignored.
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
        """Return True when the job is still waiting."""
        return self.outcome == "ignored"

    def __repr__(self) -> str:
        """Return the outcome."""
        return f"ResolveResult(outcome={self.outcome!r})"


@dataclass(frozen=True, slots=True)
class DlqEntry:
    """A dead letter: a failed job, kept apart with the reason and the time of its failure.

    ``original_run_lease`` is the lease of the attempt that failed.
    """

    job: Job
    reason: str
    dead_at: datetime
    original_run_lease: int


@dataclass(frozen=True, slots=True)
class BulkOperation:
    """A bulk operation as it was when it was read.

    ``total_matched`` was counted when the operation was submitted.  The jobs it has reached are
    ``processed`` (changed), ``skipped`` (locked by another session, or changed in the meantime) or
    ``errored`` (refused; ``last_error`` is the last error).  Jobs that no longer matched when it
    reached them are in none of the three.
    """

    id: str
    operation: Literal["retry", "cancel", "delete", "set_priority", "move_queue"]
    filter: dict[str, Any]
    spec: dict[str, Any]
    """The new priority or to_queue."""
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
        """Return True when the operation has ended."""
        return self.finished_at is not None
