"""Read the results of a workflow's tasks."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from awa_lib._json import as_data
from awa_lib._sql import sql
from awa_lib.errors import Conflict, NoResult, ResultExpired, WorkflowNotFound
from awa_lib.reads.job_results import ended_result
from awa_lib.validation import int64_of, name_of, unknown_word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib._sql import Op, Rows

__all__ = ["task_result"]


def task_result(workflow_id: int, name: str) -> Op[Any]:
    """Return what a task of a workflow has returned, as JSON data; of a group a list.

    The list has the results of the group's tasks in order, and None for each that has none.  A task
    reads those of the tasks that it waited for: ``client.task_result(job.workflow_id, "merge")``.
    Of a signal it is what was sent with it.  Waits for nothing.  Raises WorkflowNotFound,
    ValidationError for an unknown task, Conflict for one that has not ended and a signal that was
    not sent, JobFailed, NoResult, ResultExpired, also when one result of a group has expired.
    """
    return _task_result(int64_of("workflow_id", workflow_id), name_of("name", name))


def _task_result(workflow_id: int, name: str) -> Op[Any]:
    rows = yield sql.workflows("named_node", workflow=workflow_id, name=name)
    if not rows:
        rows = yield sql.workflows("named_nodes", workflow=workflow_id)
        if not rows:
            raise WorkflowNotFound(workflow_id)
        raise unknown_word(
            f"workflow {workflow_id} has no task {name!r}", name, [row[0] for row in rows]
        )
    type_, number, state, job_id = rows[0]
    if type_ == "signal":
        if state == "waiting":
            raise Conflict(
                f"the signal {name!r} was not sent to workflow {workflow_id}",
                hint=f"send it: awa workflow signal {workflow_id} {shlex.quote(name)}",
            )
        found = yield sql.workflows("signal_payload", workflow=workflow_id, number=number)
        return as_data(found.scalar())
    if type_ == "group":
        members = yield sql.workflows("group_results", workflow=workflow_id, number=number)
        return list(_values(members))
    if state in ("waiting", "skipped"):
        raise NoResult(
            job_id,
            why=f"the task {name!r} of workflow {workflow_id} is {state}, so it has not run",
            hint=f"see its tasks: awa workflow show {workflow_id}",
        )
    return (yield from ended_result(job_id)).value


def _values(members: Rows) -> Iterator[Any]:
    for job_id, value, expired_at in members:
        # None would be taken for a task without a result, and a sum of them for a right one.
        if expired_at is not None:
            raise ResultExpired(job_id, expired_at)
        yield None if value is None else as_data(value)
