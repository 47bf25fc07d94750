"""The errors of the library.

AwaError
├── NotFound
│   ├── JobNotFound (also LookupError)
│   ├── BulkOperationNotFound (also LookupError)
│   ├── CallbackNotFound (also LookupError)
│   ├── FailureNotFound (also LookupError)
│   ├── NoResult (also LookupError)
│   ├── ResultExpired (also LookupError)
│   └── ScheduleNotFound (also LookupError)
├── Conflict
│   ├── UniqueConflict
│   └── InvalidTransition
├── InvalidInput
│   ├── ValidationError (also ValueError)
│   ├── SerializationError (also ValueError)
│   └── UnknownJobKind (also LookupError)
├── SchemaMismatch
│   ├── SchemaNotMigrated
│   └── SchemaUnsupported
├── DatabaseError
│   ├── AccessDenied
│   └── Transient
│       └── Unavailable
├── StaleAttempt
├── JobFailed
├── WaitTimeout (also TimeoutError)
├── WouldDeadlock
├── TerminalError
│   └── ResultError
│       ├── ResultNotStorable (also ValueError)
│       └── ResultTooLarge (also ValueError)
└── EmbeddedError

``str(error)`` says what happened, ``error.why`` gives the cause, and ``error.hint`` says what to
do next, with the exact command if there is one.  A traceback shows all three.  No message contains
a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

# What to do about a standby.
FIND_PRIMARY = (
    "connect to the primary; a URL with all hosts finds it: postgresql://USER@HOST1,HOST2/NAME"
)

__all__ = [
    "AccessDenied",
    "AwaError",
    "BulkOperationNotFound",
    "CallbackNotFound",
    "Conflict",
    "DatabaseError",
    "EmbeddedError",
    "FailureNotFound",
    "InvalidInput",
    "InvalidTransition",
    "JobFailed",
    "JobNotFound",
    "NoResult",
    "NotFound",
    "ResultError",
    "ResultExpired",
    "ResultNotStorable",
    "ResultTooLarge",
    "ScheduleNotFound",
    "SchemaMismatch",
    "SchemaNotMigrated",
    "SchemaUnsupported",
    "SerializationError",
    "StaleAttempt",
    "TerminalError",
    "Transient",
    "Unavailable",
    "UniqueConflict",
    "UnknownJobKind",
    "ValidationError",
    "WaitTimeout",
    "WorkflowNotFound",
    "WouldDeadlock",
]


class AwaError(Exception):
    """Base class of all errors of this library."""

    def __init__(
        self, message: str = "", *, why: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.why = why
        self.hint = hint
        # A traceback shows notes.
        for name, text in (("why", why), ("do", hint)):
            if text:
                self.add_note(f"{name}: {text}")


class NotFound(AwaError):
    """The requested object does not exist."""


class JobNotFound(NotFound, LookupError):
    """No job has this id.  ``job_id`` holds it."""

    def __init__(
        self,
        job_id: int,
        *,
        why: str = "it never existed, or it finished long ago and retention deleted it",
        hint: str = "list jobs: awa job list",
    ) -> None:
        super().__init__(f"job not found: {job_id}", why=why, hint=hint)
        self.job_id = job_id


class BulkOperationNotFound(NotFound, LookupError):
    """No bulk operation has this id.  ``operation_id`` holds it."""

    def __init__(self, operation_id: str) -> None:
        super().__init__(
            f"bulk operation not found: {operation_id}",
            why="none was submitted under this id in this database",
            hint="list bulk operations: awa batch list",
        )
        self.operation_id = operation_id


class CallbackNotFound(NotFound, LookupError):
    """No waiting job holds this callback id.  ``callback_id`` holds it."""

    def __init__(self, callback_id: str) -> None:
        super().__init__(
            f"callback not found: {callback_id}",
            why="it was already resolved, it timed out, or its job was cancelled",
            hint="list waiting jobs: awa job list --state waiting_external",
        )
        self.callback_id = callback_id


class FailureNotFound(NotFound, LookupError):
    """No failure has this id.  ``failure_id`` holds it."""

    def __init__(self, failure_id: str) -> None:
        super().__init__(
            f"failure not found: {failure_id!r}",
            why="it never happened, or not for so long that retention deleted it",
            hint="list failures: awa failure list --since 30d --muted",
        )
        self.failure_id = failure_id


class NoResult(NotFound, LookupError):
    """The job has ended without a result that was kept.  ``job_id`` holds its id."""

    def __init__(
        self,
        job_id: int,
        *,
        what: str = "completed without a result",
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(f"job {job_id} {what}", why=why, hint=hint)
        self.job_id = job_id


class ResultExpired(NotFound, LookupError):
    """The result of the job was kept until ``expired_at``.  ``job_id`` holds its id."""

    def __init__(self, job_id: int, expired_at: datetime) -> None:
        super().__init__(
            f"the result of job {job_id} expired at {expired_at.isoformat(timespec='seconds')}",
            why="results are kept for the result_ttl of their kind, by default 7 days",
            hint="keep results for longer: @client.task(…, result=True, result_ttl='30d')",
        )
        self.job_id = job_id
        self.expired_at = expired_at


class WorkflowNotFound(NotFound, LookupError):
    """No workflow has this id.  ``workflow_id`` holds it."""

    def __init__(self, workflow_id: int) -> None:
        super().__init__(
            f"workflow not found: {workflow_id}",
            why="it never existed, or it ended long ago and retention deleted it",
            hint="list workflows: awa workflow list",
        )
        self.workflow_id = workflow_id


class ScheduleNotFound(NotFound, LookupError):
    """No schedule has this name.  ``name`` holds it, ``removed_at`` the time of its removal."""

    def __init__(self, name: str, removed_at: datetime | None = None) -> None:
        if removed_at is None:
            why = "no process that has started declares it"
        else:
            why = f"it was removed at {removed_at.isoformat(timespec='seconds')}"
        super().__init__(
            f"schedule not found: {name!r}", why=why, hint="list schedules: awa cron list"
        )
        self.name = name
        self.removed_at = removed_at


class Conflict(AwaError):
    """The request conflicts with the state of the database."""


class UniqueConflict(Conflict):
    """Another live job holds the same unique key.  ``job_id`` is its id, or None."""

    def __init__(
        self,
        message: str = "another live job holds the same unique key",
        *,
        constraint: str | None = None,
        job_id: int | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        if job_id is not None:
            message = f"{message}: job {job_id}"
            hint = hint or f"show that job: awa job show {job_id}"
        super().__init__(message, why=why, hint=hint)
        self.constraint = constraint
        self.job_id = job_id


class InvalidTransition(Conflict):
    """The state of the job does not allow the change."""

    def __init__(self, job_id: int, state: str, verb: str, allowed: tuple[str, ...]) -> None:
        super().__init__(
            f"cannot {verb} job {job_id}: it is {state}",
            why=f"only jobs in state {', '.join(allowed)} allow this",
            hint=f"show the job: awa job show {job_id}",
        )
        self.job_id = job_id
        self.state = state
        self.allowed = allowed


class InvalidInput(AwaError):
    """A value given by the caller is not valid."""


class ValidationError(InvalidInput, ValueError):
    """A value has the wrong type or form, or is out of range."""


class SerializationError(InvalidInput, ValueError):
    """A value cannot be written as JSON, or JSON does not fit the declared type."""


class UnknownJobKind(InvalidInput, LookupError):
    """No handler is registered for this kind."""


class SchemaMismatch(AwaError):
    """The schema of the database does not match this version of the library."""


class SchemaNotMigrated(SchemaMismatch):
    """Tables are missing: not all migrations have been applied."""


class SchemaUnsupported(SchemaMismatch):
    """The schema belongs to a version that this library does not support."""


class DatabaseError(AwaError):
    """The database refused a statement.  ``sqlstate`` and ``constraint`` are None if unknown."""

    def __init__(
        self,
        message: str = "",
        *,
        sqlstate: str | None = None,
        constraint: str | None = None,
        why: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, why=why, hint=hint)
        self.sqlstate = sqlstate
        self.constraint = constraint


class AccessDenied(DatabaseError):
    """The role of the connection lacks a privilege that the statement needs."""


class Transient(DatabaseError):
    """A temporary error; the request is valid and may be sent again.

    For example a lock or statement time-out, a deadlock or a serialization failure.  In a
    transaction of the caller, repeat the whole transaction.
    """


class Unavailable(Transient):
    """The database cannot be reached or is read-only, or the connection was lost."""


class StaleAttempt(AwaError):
    """The attempt no longer owns its job: it was rescued, cancelled or finished elsewhere."""


class JobFailed(AwaError):
    """The job whose result was asked for failed or was cancelled.

    ``state`` is failed or cancelled, ``error_type`` the qualified name of the last exception, if
    known, and ``error`` the text of the job's last error, with its traceback: it may contain data
    of the job, so ``str()`` of this exception does not.
    """

    def __init__(self, job_id: int, state: str, error: str | None, error_type: str | None) -> None:
        what = "was cancelled" if state == "cancelled" else "failed"
        super().__init__(
            f"job {job_id} {what}" + (f": {error_type}" if error_type else ""),
            why="it has no result",
            hint=f"show its errors: awa job show {job_id}",
        )
        self.job_id = job_id
        self.state = state
        self.error = error
        self.error_type = error_type


class WaitTimeout(AwaError, TimeoutError):
    """A job did not end within the time that a caller gave.  ``job_id`` holds its id."""

    def __init__(self, job_id: int, seconds: float, *, why: str | None = None) -> None:
        super().__init__(
            f"job {job_id} did not end within {seconds:g} s",
            why=why,
            hint=f"see what it does: awa job show {job_id}; or give a longer timeout",
        )
        self.job_id = job_id


class WouldDeadlock(AwaError):
    """A handler would wait for a job that may need the slot that the handler holds."""


class EmbeddedError(AwaError):
    """The embedded PostgreSQL cannot be found, started or used."""


class TerminalError(AwaError):
    """Raise this in a handler to fail the job at once, without another attempt."""


class ResultError(TerminalError):
    """What the handler returned cannot be kept as its result; the job fails at once."""


class ResultNotStorable(ResultError, ValueError):
    """The result holds a value that JSON, or jsonb, cannot hold."""


class ResultTooLarge(ResultError, ValueError):
    """The result, or the value of ``step``, is too large.

    ``size_bytes`` and ``max_bytes`` say it.
    """

    def __init__(self, size_bytes: int, max_bytes: int, *, step: str | None = None) -> None:
        what = "the result" if step is None else f"the value of the step {step!r}"
        # The bound of a step is fixed.
        or_else = ", or set result_max_bytes of the task" if step is None else ""
        super().__init__(
            f"{what} has {size_bytes:,} bytes of JSON, and at most {max_bytes:,} are kept",
            why="it is read whole, and a worker holds many of them in memory",
            hint=f"store it elsewhere and return where it is{or_else}",
        )
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes
