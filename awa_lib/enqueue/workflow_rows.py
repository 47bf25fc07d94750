"""The rows of a new workflow: its nodes, numbered, and the edges between them."""

from __future__ import annotations

from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from awa_lib.codec import pgtext
from awa_lib.codec.pgtext import int_array
from awa_lib.enqueue.workflow_nodes import PATIENT, Group
from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from awa_lib.enqueue.options import Options
    from awa_lib.enqueue.workflow_nodes import Node, Part
    from awa_lib.enqueue.workflows import Workflow

__all__ = ["ROWS_PER_STATEMENT", "Plan", "Row", "batches", "columns"]

ROWS_PER_STATEMENT: Final = 5000
# Far below the largest array of jsonb, 256 MiB, and of a message.
_BYTES_PER_STATEMENT: Final = 16 << 20
# 60 MB of the program's memory, and seconds of the database.
_MOST_EDGES: Final = 1_000_000
# A parent and a child in one number: a pair of numbers takes three times the memory.
_CHILD_BITS: Final = 32
_CHILD: Final = (1 << _CHILD_BITS) - 1


class Plan:
    """The rows of a workflow: nodes numbered from ``first`` on, and the edges between them.

    Of ``decided`` nodes the rows say which tasks start and how many parents the others wait for:
    that needs no look at the database, and each row is written once.  Others are decided by
    awa.resolve_workflow: with parents that were there before, or whose parents are over already.
    """

    def __init__(self, flow: Workflow, first: int, known: dict[str, int]) -> None:
        self.flow = flow
        self.first = first
        self.size = flow.number(first, known) - first
        self._signals = {signal.number for signal in flow.signals.values()}
        self._over = {
            part.node.number
            for part in flow.parts
            if isinstance(part.node, Group) and not part.jobs.args
        }
        self._count = 0
        # Of a parent and the first task of a part; a part with a number of tasks other than one
        # is in _members.
        self._pairs: list[int] = []
        self._members: dict[int, int] = {}
        # Parents and signals that the tasks of each part wait for.
        self._waits: list[tuple[int, int]] = []
        self.waiting = self.started = 0
        self.decided = len(flow) > 0
        older: set[int] = set()
        for part in flow.parts:
            parents = flow.parents(part, known)
            if first > 1:
                older.update(number for number in parents if number < first)
            self._add(part, parents)
        self._pairs.sort()
        self.older = sorted(older)
        self.decided &= not older
        if not self.decided:
            self.waiting = self.started = 0

    def _add(self, part: Part, parents: set[int]) -> None:
        child = part.node.number
        assert child is not None
        tasks = 1
        if isinstance(part.node, Group):
            child, tasks = child + 1, len(part.jobs.args)
            if tasks:  # else the number is that of the next part
                self._members[child] = tasks
        self._count += len(parents) * tasks
        if self._count > _MOST_EDGES:
            raise _too_many_edges(part.node.name)
        signals = len(parents & self._signals) if self._signals else 0
        over = len(parents & self._over) if self._over else 0
        wait = (len(parents) - signals - over, signals)
        # Most parts wait for as many as the one before.
        self._waits.append(self._waits[-1] if self._waits and self._waits[-1] == wait else wait)
        if not tasks:
            return
        self._pairs += [parent << _CHILD_BITS | child for parent in parents]
        if not parents:
            self.started += tasks
        else:
            self.waiting += tasks
            if not wait[0] and not (signals and part.when in PATIENT):
                self.decided = False

    def parts(self) -> Iterator[tuple[Part, tuple[int, int]]]:
        """Return the parts, and for how many parents and signals the tasks of each wait."""
        return zip(self.flow.parts, self._waits, strict=True)

    def new_signals(self) -> list[str]:
        """Return the names of the signals that the workflow does not have yet."""
        signals = self.flow.signals.values()
        return [s.name for s in signals if s.number is not None and s.number >= self.first]

    def rows(self) -> Iterator[Row]:
        """Return the rows of all nodes, in the order of their numbers."""
        nothing = (0, 0)
        for part, wait in self.parts():
            node, jobs = part.node, part.jobs
            waits = wait if self.decided else nothing
            group: int | None = None
            name: str | None = node.name
            if isinstance(node, Group):
                yield Row("group", name, waits=(len(jobs.args), 0) if self.decided else nothing)
                group, name = node.number, None
            each = jobs.own or repeat(jobs.options)
            for args, kind, options in zip(jobs.args, jobs.kinds, each, strict=False):
                yield Row("task", name, node, group, part, kind, args, options, waits)
        for signal in self.new_signals():
            yield Row("signal", signal)

    def edge_arrays(self) -> Iterator[tuple[str, str]]:
        """Return parents and children, in order, as arrays that fit a statement."""
        edges = self.edges()
        while batch := list(islice(edges, ROWS_PER_STATEMENT)):
            yield int_array(parent for parent, _ in batch), int_array(child for _, child in batch)

    def edges(self) -> Iterator[tuple[int, int]]:
        """Return the parent and the child of each edge, in order."""
        for pair in self._pairs:
            parent, first = pair >> _CHILD_BITS, pair & _CHILD
            for child in range(first, first + self._members.get(first, 1)):
                yield parent, child


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
    waits: tuple[int, int] = (0, 0)
    """For how many parents, and signals; of a group its members."""


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
    """Return the parameters of insert_nodes; a value that all tasks share is sent once."""
    task = next((row for row in rows if row.part is not None), None)
    # Columns of tasks are not read of others, so these have the values of one.
    tasks = [] if task is None else [task if row.part is None else row for row in rows]
    parts: list[Any] = [row.part for row in tasks]
    options: list[Any] = [row.options for row in tasks]
    found: dict[str, Any] = {"args": _json_array([row.args for row in rows])}
    of_rows: tuple[tuple[str, str, list[Any], Callable[[list[Any]], str]], ...] = (
        ("types", "type", [row.type for row in rows], pgtext.text_array),
        ("names", "name", [row.name for row in rows], pgtext.nullable_array),
        ("opens", "open", [row.waits[0] for row in rows], _numbers),
        ("signals_each", "signals", [row.waits[1] for row in rows], _numbers),
        ("groups", "group", [row.group for row in tasks], _numbers),
        ("rules", "rule", [part.when for part in parts], pgtext.text_array),
        (
            "on_parent_failures",
            "on_parent_failure",
            [part.on_parent_failure for part in parts],
            pgtext.text_array,
        ),
        ("not_befores", "not_before", [part.not_before for part in parts], _moments),
        ("waits", "wait", [part.wait for part in parts], _numbers),
        ("kinds", "kind", [row.kind for row in tasks], pgtext.nullable_array),
        ("queues", "queue", [one.queue for one in options], pgtext.text_array),
        ("priorities", "priority", [one.priority for one in options], _numbers),
        ("max_attempts_each", "max_attempts", [one.max_attempts for one in options], _numbers),
        ("metadata_each", "metadata", [one.metadata for one in options], _json_array),
        ("tags_each", "tags", [one.tags for one in options], _tags),
    )  # fmt: skip - a line for each column
    for each, shared, values, write in of_rows:
        same = not values or values.count(values[0]) == len(values)
        found[each] = write([] if same else values)
        found[shared] = values[0] if same and values else None
    if found["tags"] is not None:
        found["tags"] = pgtext.text_array(found["tags"])
    return found


def _tags(values: Iterable[Sequence[str]]) -> str:
    return pgtext.text_array(map(pgtext.text_array, values))


def _moments(values: Iterable[datetime | None]) -> str:
    return pgtext.nullable_array(None if one is None else one.isoformat() for one in values)


def _json_array(values: Iterable[str]) -> str:
    return "[" + ",".join(values) + "]"


def _numbers(values: Iterable[float | None]) -> str:
    return "{" + ",".join(["NULL" if one is None else repr(one) for one in values]) + "}"


def _too_many_edges(name: str) -> ValidationError:
    return ValidationError(
        f"with task {name!r} the workflow has more than {_MOST_EDGES:,} edges",
        why="each task waits for each of its parents by an edge",
        hint="add the parents as a group with add_many(), which is one parent",
    )
