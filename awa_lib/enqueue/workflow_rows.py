"""The rows of a new workflow: its nodes, numbered, and the edges between them."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from awa_lib.codec import pgtext
from awa_lib.enqueue.workflow_nodes import Group, Task
from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from awa_lib.enqueue.options import Options
    from awa_lib.enqueue.workflow_nodes import Node, Part
    from awa_lib.enqueue.workflows import Workflow

__all__ = ["ROWS_PER_STATEMENT", "Plan", "Row", "batches", "columns", "ints"]

ROWS_PER_STATEMENT: Final = 5000
# Far below the largest array of jsonb, 256 MiB, and of a message.
_BYTES_PER_STATEMENT: Final = 16 << 20
# Half a gigabyte of the program's memory, and a minute of the database.
_MOST_EDGES: Final = 1_000_000


class Plan:
    """The rows of a workflow: nodes numbered from ``first`` on, and the edges between them."""

    def __init__(self, flow: Workflow, first: int, known: dict[str, int]) -> None:
        self.flow = flow
        self.first = first
        self._members = {id(node): (node, members) for node, members in flow.numbered(first, known)}
        self.size = sum(1 + members for _, members in self._members.values())
        self.edges: list[tuple[int, int]] = []
        older: set[int] = set()
        for part in flow.parts:
            parents = flow.parents(part, known)
            older.update(number for number in parents if number < first)
            children = self._tasks(part.node)
            if len(self.edges) + len(parents) * len(children) > _MOST_EDGES:
                raise _too_many_edges(part.node.name)
            self.edges += [(parent, child) for parent in parents for child in children]
        self.edges.sort()
        self.older = sorted(older)

    def _tasks(self, node: Node) -> Sequence[int]:
        """Return the numbers of the tasks of a part."""
        assert node.number is not None
        if isinstance(node, Task):
            return [node.number]
        members = self._members[id(node)][1]
        return range(node.number + 1, node.number + 1 + members)

    def rows(self) -> Iterator[Row]:
        """Return the rows of all nodes, in the order of their numbers."""
        for part in self.flow.parts:
            group = part.node.number if isinstance(part.node, Group) else None
            if group is not None:
                yield Row("group", part.node.name)
            jobs = part.jobs
            each = jobs.own or repeat(jobs.options)
            for args, kind, options in zip(jobs.args, jobs.kinds, each, strict=False):
                name = part.node.name if group is None else None
                yield Row("task", name, part.node, group, part, kind, args, options)
        for signal in self.flow.signals.values():
            if id(signal) in self._members:
                yield Row("signal", signal.name)


class Row(NamedTuple):
    """A row of awa.workflow_nodes."""

    type: str
    name: str | None
    node: Node | None = None
    group: int | None = None
    part: Part | None = None
    kind: str | None = None
    args: str = "null"
    options: Options | None = None


def batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Split rows so that each part fits a statement; keeps their order."""
    batch: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.args) + (0 if row.options is None else len(row.options.metadata))
        if batch and (len(batch) == ROWS_PER_STATEMENT or size + length > _BYTES_PER_STATEMENT):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    if batch:
        yield batch


def columns(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the parameters of insert_nodes."""
    parts = [row.part for row in rows]
    of_jobs = [row.options for row in rows]
    null = "null"
    return {
        "types": pgtext.text_array(row.type for row in rows),
        "names": pgtext.nullable_array(row.name for row in rows),
        "groups": _numbers(row.group for row in rows),
        "rules": pgtext.text_array("all_succeeded" if p is None else p.when for p in parts),
        "on_parent_failures": pgtext.text_array(
            "skip" if p is None else p.on_parent_failure for p in parts
        ),
        "not_befores": pgtext.nullable_array(
            None if p is None or p.not_before is None else p.not_before.isoformat() for p in parts
        ),
        "waits": _numbers(None if p is None else p.wait for p in parts),
        "kinds": pgtext.nullable_array(row.kind for row in rows),
        "queues": pgtext.nullable_array(None if o is None else o.queue for o in of_jobs),
        "priorities": _numbers(None if o is None else o.priority for o in of_jobs),
        "max_attempts_each": _numbers(None if o is None else o.max_attempts for o in of_jobs),
        "args": "[" + ",".join(row.args for row in rows) + "]",
        "metadata_each": "[" + ",".join(null if o is None else o.metadata for o in of_jobs) + "]",
        "tags_each": pgtext.nullable_array(
            None if o is None else pgtext.text_array(o.tags) for o in of_jobs
        ),
    }


def _numbers(values: Iterable[float | None]) -> str:
    return "{" + ",".join("NULL" if one is None else repr(one) for one in values) + "}"


def ints(values: Iterable[int]) -> str:
    """Return an array literal of numbers."""
    return "{" + ",".join(map(str, values)) + "}"


def _too_many_edges(name: str) -> ValidationError:
    return ValidationError(
        f"with task {name!r} the workflow has more than {_MOST_EDGES:,} edges",
        why="each task waits for each of its parents by an edge",
        hint="add the parents as a group with add_many(), which is one parent",
    )
