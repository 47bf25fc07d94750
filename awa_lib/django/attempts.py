"""An attempt of a task: its result while it runs, and the signals of its begin and its end."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Final

from django.utils import timezone

from awa_lib.django import results
from awa_lib.django.errors import ReturnValueError
from awa_lib.django.interface import TaskContext, TaskResultStatus
from awa_lib.errors import TerminalError
from awa_lib.results import asleep
from awa_lib.runtime import identity
from awa_lib.runtime.context import OVER
from awa_lib.runtime.outcomes import clean

if TYPE_CHECKING:
    from awa_lib.models import Job
    from awa_lib.runtime.context import Attempt

__all__ = ["TaskAttempt"]

# Of the table's row: a deep recursion has megabytes.  The end says most.
_LONGEST_TRACE: Final = 16_000
_DEADLINE: Final = "hard deadline exceeded"


class TaskAttempt:
    """A claimed job as a task that runs.

    ``failed`` and ``succeeded`` return whether the task has ended, and set what its result says.
    The job is written after the handler has returned, so the signal of the end comes before that.
    """

    def __init__(self, job: Job, task: Any) -> None:
        assert job._attempt is not None  # noqa: SLF001 - it runs
        self._attempt: Attempt = job._attempt  # type: ignore[assignment] # noqa: SLF001 - the runtime's
        found = results.Stored.of(job)
        kept = job.metadata.get(results.KEY)
        if isinstance(kept, dict):
            task = results.enqueued(task, kept)
        self.task = task
        self.sender = type(task.get_backend())
        self.result = results.result_of(job.id, found, task)
        now = timezone.now()
        self.result.worker_ids.append(identity.of_errors()["worker"])
        self._set(last_attempted_at=now, started_at=self.result.started_at or now)

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self.result, name, value)

    @property
    def args(self) -> list[Any]:
        """The positional arguments of the function."""
        context = [TaskContext(task_result=self.result)] if self.task.takes_context else []
        return [*context, *self.result.args]

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments by name."""
        kwargs: dict[str, Any] = self.result.kwargs
        return kwargs

    def returned(self, value: object) -> Any:
        """Return what is kept of a return value.  Raises ReturnValueError, ResultError."""
        try:
            kept = results.plain(value)
        except (TypeError, ValueError) as error:
            raise ReturnValueError(
                f"the return value is no JSON: {error}",
                hint="return text, numbers, booleans, None, lists and dicts of these",
            ) from error
        if self._attempt.handler.keep is not None:
            # Encoded again with the end: an error must come before the signal says that it is one.
            self._attempt.handler.keep.encode(kept)
        return kept

    def succeeded(self, value: object) -> bool:
        """Note a return value."""
        reason, given_up = self._attempt.stop_reason, self._attempt.given_up
        # What returns late, but before the worker has given it up, completes its job.
        if reason in OVER and (reason != "deadline" or given_up):
            return self._stopped()
        self._set(_return_value=value)
        return self._end(TaskResultStatus.SUCCESSFUL)

    def failed(self, error: BaseException) -> bool:
        """Note an exception, and its whole traceback in the record of the attempt."""
        if asleep(error) is not None:
            return False
        if self._attempt.stop_reason in OVER:
            return self._stopped()
        trace = clean("".join(traceback.format_exception(error))[-_LONGEST_TRACE:])
        self._attempt.trace = trace
        kind = type(error)
        self.result.errors.append(
            results.task_error(f"{kind.__module__}.{kind.__qualname__}", trace)
        )
        if not self._attempt.is_last and not isinstance(error, TerminalError):
            return False
        return self._end(TaskResultStatus.FAILED)

    def _stopped(self) -> bool:
        """Note that the attempt was over before its function was."""
        reason = self._attempt.stop_reason
        if reason == "cancelled":
            error = results.task_error("awa_lib.django.JobCancelled", "the job was cancelled")
        elif reason == "deadline" and self._attempt.is_last:
            error = results.task_error("builtins.TimeoutError", _DEADLINE)
        else:
            return False
        self.result.errors.append(error)
        return self._end(TaskResultStatus.FAILED)

    def _end(self, status: Any) -> bool:
        self._set(status=status, finished_at=timezone.now())
        return True
