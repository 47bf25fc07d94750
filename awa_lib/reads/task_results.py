"""Read the results of a workflow's tasks."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from awa_lib._json import as_data
from awa_lib._sql import Rows, sql
from awa_lib.codec.decode import value_decoder
from awa_lib.codec.job_results import type_of
from awa_lib.errors import Conflict, ResultExpired, ValidationError, WorkflowNotFound
from awa_lib.reads.job_results import ended_result
from awa_lib.reads.workflows import label
from awa_lib.validation import int64_of, member_of, name_of, no_member, unknown_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from awa_lib._sql import Op

__all__ = ["GroupResults", "task_result"]

# What a reader holds of a group at a time: each result may have 64 MiB.
_PAGE_TASKS: Final = 500
_PAGE_BYTES: Final = 8 << 20
# What is returned in one list: as much as the largest result of one job.
_LIST_BYTES: Final = 64 << 20


class _Node(NamedTuple):
    """A named node of a workflow; a group has members, whose numbers follow its own."""

    type: str
    number: int
    state: str
    job_id: int
    members: int


class GroupResults:
    """The results of a group's tasks, read page by page.

    Raises ValidationError for a wrong argument.
    """

    def __init__(self, workflow_id: int, name: str, into: Any = None) -> None:
        self._workflow = int64_of("workflow_id", workflow_id)
        self._name = name_of("name", name)
        self._decode = None if into is None else value_decoder(type_of("into", into), "result")
        self._numbers: range | None = None  # of its members that have not been read
        self._place = 0
        self.size_bytes = 0
        """Of the results that were read, as JSON text."""

    @property
    def more(self) -> bool:
        """Return True until the last page has been read."""
        return self._numbers is None or len(self._numbers) > 0

    def page(self) -> Op[list[str | None]]:
        """Return the next results as JSON text, and None for each task that has none.

        Raises WorkflowNotFound, ResultExpired when one of them has expired, ValidationError for
        what is no group.
        """
        # Statements that only read, each by itself: no transaction.
        if self._numbers is None:
            node = yield from _named(self._workflow, self._name)
            if node.type != "group":
                raise _no_group(self._workflow, self._name, node.type)
            self._numbers = range(node.number + 1, node.number + node.members + 1)
        left = self._numbers
        if not left:
            return []
        rows = yield sql.workflows(
            "group_results",
            workflow=self._workflow,
            after=left[0] - 1,
            until=left[-1],
            limit=_PAGE_TASKS,
            bytes=_PAGE_BYTES,
        )
        # Retention deletes the tasks of a workflow in batches, in no order.
        if not rows or [row[0] for row in rows] != list(left[: len(rows)]):
            raise WorkflowNotFound(self._workflow)
        # None would be taken for a task without a result, and a sum of them for a right one.
        for _, _, _, job_id, expired_at in rows:
            if expired_at is not None:
                raise ResultExpired(job_id, expired_at)
        self._numbers = left[len(rows) :]
        self.size_bytes += sum(row[1] or 0 for row in rows)
        return [row[2] for row in rows]

    def values(self, page: Iterable[str | None]) -> Iterator[Any]:
        """Decode a page, one result at a time.  Raises ValidationError."""
        for text in page:
            place, self._place = self._place, self._place + 1
            yield None if text is None else self._value(as_data(text), place)

    def _value(self, data: Any, place: int) -> Any:
        if self._decode is None:
            return data
        try:
            return self._decode(data)
        except ValidationError as error:
            raise ValidationError(
                f"{label(self._name, place)} of workflow {self._workflow}: {error}", why=error.why
            ) from None


def task_result(workflow_id: int, name: str) -> Op[Any]:
    """Return what a task of a workflow has returned, as JSON data; of a group a list.

    The list has the results of the group's tasks in order, and None for each that has none; more
    than 64 MiB of them are refused, see ``task_results``; of one of them alone it is ``parts[17]``,
    counted from 0.  A task reads those of the tasks that it
    waited for: ``client.task_result(job.workflow_id, "merge")``.  Of a signal it is what was sent
    with it.  Waits for nothing.  Raises WorkflowNotFound, ValidationError for an unknown task,
    Conflict for one that has not ended and a signal that was not sent, JobFailed, NoResult,
    ResultExpired, also when one result of a group has expired.
    """
    return _task_result(int64_of("workflow_id", workflow_id), name_of("name", name))


def _task_result(workflow_id: int, name: str) -> Op[Any]:
    node = yield from _named(workflow_id, name)
    if node.type == "signal":
        if node.state == "waiting":
            raise Conflict(
                f"the signal {name!r} was not sent to workflow {workflow_id}",
                hint=f"send it: awa workflow signal {workflow_id} {shlex.quote(name)}",
            )
        found = yield sql.workflows("signal_payload", workflow=workflow_id, number=node.number)
        if not found:
            raise WorkflowNotFound(workflow_id)
        return as_data(found.scalar())
    if node.type == "group":
        return (yield from _list(workflow_id, name))
    return (yield from ended_result(node.job_id)).value


def _list(workflow_id: int, name: str) -> Op[list[Any]]:
    results = GroupResults(workflow_id, name)
    values: list[Any] = []
    while results.more:
        page = yield from results.page()
        if results.size_bytes > _LIST_BYTES:
            raise ValidationError(
                f"the results of the group {name!r} of workflow {workflow_id} have more than"
                f" {_LIST_BYTES:,} bytes",
                why="task_result returns them in one list, which is held in memory",
                hint=f"read them one by one: client.task_results({workflow_id}, {name!r})",
            )
        values += results.values(page)
    return values


def _named(workflow_id: int, name: str) -> Op[_Node]:
    rows = yield sql.workflows("named_node", workflow=workflow_id, name=name)
    if not rows and (member := member_of(name)) is not None:
        rows = yield from _member(workflow_id, *member)
    if rows:
        return _Node(*rows[0])
    rows = yield sql.workflows("named_nodes", workflow=workflow_id)
    if not rows:
        raise WorkflowNotFound(workflow_id)
    raise unknown_word(
        f"workflow {workflow_id} has no task {name!r}", name, [row[0] for row in rows]
    )


def _member(workflow_id: int, group: str, place: int) -> Op[Rows]:
    """Return the node of a group's member, or no row if there is no such group."""
    rows = yield sql.workflows("named_node", workflow=workflow_id, name=group)
    if not rows or (node := _Node(*rows[0])).type != "group":
        return Rows([])
    if place >= node.members:
        raise no_member(workflow_id, group, place, node.members)
    return (
        yield sql.workflows("numbered_node", workflow=workflow_id, number=node.number + 1 + place)
    )


def _no_group(workflow_id: int, name: str, what: str) -> ValidationError:
    return ValidationError(
        f"{name!r} is a {what} of workflow {workflow_id}, no group",
        hint=f"client.task_result({workflow_id}, {name!r})" if what == "task" else None,
    )
