"""The rows of a new workflow: its nodes, numbered, and the edges between them."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

from awa_lib.codec import pgtext
from awa_lib.enqueue.workflows import Group, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from awa_lib.enqueue.options import Options
    from awa_lib.enqueue.workflows import Node, Part, Workflow

__all__ = ["Plan", "Row", "columns", "ints"]


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
