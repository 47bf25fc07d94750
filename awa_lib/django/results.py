"""A job as the result of a task: statuses, times, errors, workers, return value."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.exceptions import SuspiciousOperation
from django.utils import timezone
from django.utils.module_loading import import_string

from awa_lib.django.interface import (
    Task,
    TaskError,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    normalize_json,
)
from awa_lib.errors import JobNotFound
from awa_lib.reads.attempts import attempts_of, failed_attempt, worker_of
from awa_lib.reads.dead_letters import dead_letter
from awa_lib.reads.job_results import kept_result
from awa_lib.reads.jobs import job_row
from awa_lib.runtime.context import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op
    from awa_lib.models import Job
    from awa_lib.reads.attempts import JobAttempt

__all__ = [
    "KEY",
    "Stored",
    "enqueued",
    "imported",
    "noted",
    "plain",
    "result_of",
    "stored",
    "task_error",
]

KEY: Final = "_awa_django"
"""The key of a job's metadata that holds what a job has no column for."""
_STATUS: Final = {
    "scheduled": TaskResultStatus.READY,
    "available": TaskResultStatus.READY,
    "retryable": TaskResultStatus.READY,
    "running": TaskResultStatus.RUNNING,
    "waiting_external": TaskResultStatus.RUNNING,
    "completed": TaskResultStatus.SUCCESSFUL,
    "failed": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
}
_ENDED: Final = frozenset({"completed", "failed", "cancelled"})
_UNKNOWN: Final = "unknown"
"""The id of a worker of awa 0.5, and of one that ``run_tasks`` stands in for."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the tables hold of a job."""

    kind: str
    state: str
    args: Any
    metadata: dict[str, Any]
    created_at: datetime
    finished_at: datetime | None
    attempts: Sequence[JobAttempt] = ()
    errors: Sequence[dict[str, Any]] = ()
    value: Any = None
    has_value: bool = False

    @classmethod
    def of(cls, job: Job) -> Stored:
        """Return a job as it was inserted, or claimed."""
        failed = [failed_attempt(entry) for entry in job.errors]
        created_at = datetime.fromisoformat(job.created_at)
        return cls(
            job.kind,
            str(job.state),
            job.args,
            job.metadata,
            created_at,
            None,
            failed,
            job.errors,
        )


def stored(job_id: int) -> Op[Stored | None]:
    """Return a job, also a dead letter; None if there is none."""
    try:
        row = yield from job_row(job_id)
    except JobNotFound:
        return (yield from _dead(job_id))
    worker = yield from worker_of(row)
    kept = (yield from kept_result(job_id)) if row.state == "completed" else None
    return Stored(
        row.kind,
        row.state,
        row.args,
        row.metadata,
        row.created_at,
        row.finalized_at if row.state in _ENDED else None,
        attempts_of(row, worker),
        row.errors,
        None if kept is None else kept.value,
        kept is not None,
    )


def _dead(job_id: int) -> Op[Stored | None]:
    try:
        dead = yield from dead_letter(job_id)
    except JobNotFound:
        return None
    attempts = [failed_attempt(entry) for entry in dead.errors]
    return Stored(
        dead.kind,
        "failed",
        dead.args,
        dead.metadata,
        dead.created_at,
        dead.finalized_at,
        attempts,
        dead.errors,
    )


def plain(value: Any) -> Any:
    """Return a value as it comes back from JSON: tuples as lists, keys as text.

    Raises TypeError for a type that Django does not write as JSON, ValueError for other bytes than
    UTF-8 and for a value that contains itself.
    """
    try:
        return json.loads(json.dumps(normalize_json(value)))
    except RecursionError:
        raise ValueError("it is nested too deep; does it contain itself?") from None


def noted(task: Any) -> dict[str, Any]:
    """Return what the metadata of a job keeps of its task."""
    kept = {"backend": task.backend, "queue": task.queue_name, "priority": task.priority}
    if task.run_after is not None:
        kept["run_after"] = task.run_after.isoformat()
    if getattr(task, "max_attempts", None) is not None:
        kept["max_attempts"] = task.max_attempts
    return kept


def imported(kind: str) -> Any:
    """Return the task of a kind.

    Raises ImportError for one that is not there any more, SuspiciousOperation for what is no task.
    """
    task = import_string(kind)
    if not isinstance(task, Task):
        raise SuspiciousOperation(f"{kind} is not a task")
    return task


def enqueued(task: Any, kept: dict[str, Any]) -> Any:
    """Return a task with the options of its job, from what ``noted`` kept.

    They were checked when the task was enqueued, by the settings of then: a queue that is no longer
    in QUEUES would be an error now.
    """
    changes = {
        "backend": kept["backend"],
        "queue_name": kept["queue"],
        "priority": kept["priority"],
        "run_after": datetime.fromisoformat(kept["run_after"]) if "run_after" in kept else None,
    }
    if "max_attempts" in kept:
        changes["max_attempts"] = kept["max_attempts"]
    made = object.__new__(type(task))
    for field in fields(task):
        object.__setattr__(made, field.name, changes.get(field.name, getattr(task, field.name)))
    return made


def result_of(job_id: int, job: Stored, task: Any) -> Any:
    """Return the result of a task.

    Raises TaskResultDoesNotExist for a completed job whose return value is not kept any more.
    """
    if job.state == "completed" and not job.has_value:
        raise TaskResultDoesNotExist(f"the return value of job {job_id} is not kept any more")
    starts = [one.started_at for one in job.attempts if one.started_at is not None]
    result = TaskResult(
        task=task,
        id=str(job_id),
        status=_STATUS[job.state],
        enqueued_at=local(job.created_at),
        started_at=local(starts[0]) if starts else None,
        finished_at=None if job.finished_at is None else local(job.finished_at),
        last_attempted_at=local(starts[-1]) if starts else None,
        args=job.args.get("args", []),
        kwargs=job.args.get("kwargs", {}),
        backend=task.backend,
        errors=list(map(_error, job.errors)),
        worker_ids=[one.worker or _UNKNOWN for one in job.attempts],
    )
    if job.state == "cancelled" and (not job.errors or not _is_cancel(job.errors[-1])):
        result.errors.append(task_error("awa_lib.django.JobCancelled", "the job was cancelled"))
    object.__setattr__(result, "_return_value", job.value)
    return result


def local(moment: datetime) -> datetime:
    """Return a time as Django has it: naive in the time zone of the settings without USE_TZ."""
    if settings.USE_TZ or timezone.is_naive(moment):
        return moment
    return timezone.make_naive(moment)  # type: ignore[no-any-return] # Django is not typed


def task_error(path: str, trace: str) -> Any:
    """Return an error of a task."""
    return TaskError(exception_class_path=path, traceback=trace)


def _is_cancel(entry: dict[str, Any]) -> bool:
    return str(entry.get("error", "")).startswith(CANCELLED)


def _error(entry: dict[str, Any]) -> Any:
    """Return a recorded error; of one that no worker of this backend wrote, what awa keeps of it.

    That is the last ten lines of the traceback.
    """
    text, trace = str(entry.get("error", "")), entry.get("traceback")
    return task_error(
        _class_of(entry, text), trace if isinstance(trace, str) else _as_traceback(text)
    )


def _as_traceback(text: str) -> str:
    """Return an error of awa, whose message comes first, in the order of Python."""
    message, frames, rest = text.partition('\n  File "')
    if not frames:
        return text
    message, cut, left_out = message.partition("\n... (")
    return f"Traceback (most recent call last):{cut}{left_out}{frames}{rest}\n{message}\n"


def _class_of(entry: dict[str, Any], text: str) -> str:
    if isinstance(entry.get("type"), str):
        return str(entry["type"])
    if "crash" in entry:
        return "awa_lib.django.WorkerDied"
    if _is_cancel(entry):
        return "awa_lib.django.JobCancelled"
    if text.startswith("hard deadline exceeded"):
        return "builtins.TimeoutError"
    return "awa_lib.errors.AwaError"
