"""Run tasks of a workflow again."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from awa_lib._sql import atomic, sql
from awa_lib.codec import pgtext
from awa_lib.codec.pgtext import int_array
from awa_lib.errors import Conflict, ValidationError, WorkflowNotFound
from awa_lib.ops.dead_letters import MOVE_BATCH, retry_page
from awa_lib.ops.jobs import retry_in_pages
from awa_lib.ops.workflows import lock_workflow, note_ends, resolve
from awa_lib.validation import int64_of, member_of, names_of, no_member, unknown_word

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op

__all__ = ["retry_workflow"]


def retry_workflow(
    workflow_id: int,
    *,
    tasks: Sequence[str] | None = None,
    downstream: bool = False,
    dry_run: bool = False,
) -> Op[list[str]]:
    """Run tasks of a workflow again and return their names; members of a group are ``name[0]``, ….

    By default all that failed or were cancelled; a failed job starts again with attempt 0, skipped
    tasks behind it are decided anew.  ``tasks`` names some, in any way that they ended; of a group
    the members that failed.  With ``downstream`` also every task behind them that has ended, each
    with a new job.  Locks the workflow until the commit; with ``dry_run`` nothing is locked or
    changed.  Raises WorkflowNotFound, ValidationError for an unknown task, Conflict when nothing
    can be retried, or when the args of a job are no longer there.
    """
    for field, value in (("downstream", downstream), ("dry_run", dry_run)):
        if not isinstance(value, bool):
            raise ValidationError(f"{field} must be True or False, got {value!r}")
    names = None if tasks is None else names_of("tasks", tasks)
    return _retry_workflow(
        int64_of("workflow_id", workflow_id), names, downstream=downstream, dry_run=dry_run
    )


@atomic
def _retry_workflow(
    workflow_id: int, tasks: Sequence[str] | None, *, downstream: bool, dry_run: bool
) -> Op[list[str]]:
    if dry_run:
        yield from _check_there(workflow_id)
    else:
        yield from lock_workflow(workflow_id)
    numbers = yield from _numbers_of(workflow_id, tasks)
    rows = yield sql.workflows(
        "retry_targets",
        workflow=workflow_id,
        all=tasks is None,
        numbers=int_array(numbers),
        downstream=downstream,
    )
    if dry_run:
        # Without the lock retention may have begun meanwhile: then not all were there.
        yield from _check_there(workflow_id)
    found = [_Target(*row) for row in rows]
    targets = [target for target in found if not target.is_live]
    if not targets:
        raise Conflict(
            f"no task of workflow {workflow_id} can be retried",
            why="the job of each of them runs again already"
            if found
            else "tasks that failed, were cancelled or are named, and have ended, can be",
            hint=f"see its tasks: awa workflow show {workflow_id}",
        )
    if not dry_run:
        # Somebody has retried these jobs, and the workflow does not know yet.
        yield from note_ends((workflow_id, one.job_id) for one in found if one.is_live)
        yield sql.workflows("reopen_workflow", workflow=workflow_id)
        yield from _retry(workflow_id, targets)
        # What a very long cascade leaves is taken by a sweep.
        yield from resolve(workflow_id)
    return [target.label for target in targets]


def _check_there(workflow_id: int) -> Op[None]:
    if not (yield sql.workflows("has_workflow", workflow=workflow_id)):
        raise WorkflowNotFound(workflow_id)


class _Target(NamedTuple):
    number: int
    state: str
    job_id: int
    label: str
    has_args: bool
    is_behind: bool
    is_live: bool


def _retry(workflow_id: int, targets: Sequence[_Target]) -> Op[None]:
    """Retry the jobs of failed tasks in place, dead letters too; others wait for a new job."""
    failed = [t for t in targets if t.state != "succeeded" and not (t.is_behind or t.has_args)]
    retried = {job.id for job in (yield from retry_in_pages([t.job_id for t in failed]))}
    dead = [t.job_id for t in failed if t.job_id not in retried]
    for start in range(0, len(dead), MOVE_BATCH):
        retried.update((yield from retry_page(dead[start : start + MOVE_BATCH])))
    again = [t for t in targets if t.job_id not in retried]
    if not again:
        return
    rows = yield sql.workflows(
        "reset_nodes", workflow=workflow_id, numbers=int_array(t.number for t in again)
    )
    if len(rows) < len(again):
        done = {row[0] for row in rows}
        lost = next(t for t in again if t.number not in done)
        raise Conflict(
            f"task {lost.label!r} of workflow {workflow_id} cannot run again",
            why=f"its job {lost.job_id} was deleted, and its args with it",
            hint="name the tasks to retry: awa workflow retry"
            f" {workflow_id} --task NAME; or insert the work again",
        )


def _numbers_of(workflow_id: int, tasks: Sequence[str] | None) -> Op[list[int]]:
    if tasks is None:
        return []
    groups_named = {found[0] for task in tasks if (found := member_of(task)) is not None}
    rows = yield sql.workflows(
        "nodes_named",
        workflow=workflow_id,
        names=pgtext.text_array(dict.fromkeys([*tasks, *groups_named])),
    )
    known = {row[0]: row[1] for row in rows if row[2] != "signal"}
    groups = {row[0]: range(row[1] + 1, row[1] + 1 + row[3]) for row in rows if row[2] == "group"}
    numbers = []
    for task in tasks:
        number = known.get(task)
        member = member_of(task) if number is None else None
        if member is not None and member[0] in groups:
            group, place = member
            if place >= len(groups[group]):
                raise no_member(workflow_id, group, place, len(groups[group]))
            number = groups[group][place]
        if number is None:
            rows = yield sql.workflows("named_nodes", workflow=workflow_id)
            if not rows:
                raise WorkflowNotFound(workflow_id)
            names = sorted(row[0] for row in rows if row[2] != "signal")
            raise unknown_word(f"workflow {workflow_id} has no task {task!r}", task, names)
        numbers.append(number)
    return numbers
