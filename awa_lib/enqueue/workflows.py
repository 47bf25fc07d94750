"""Build a workflow: named tasks, groups and signals, and what each task waits for."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from awa_lib.enqueue.kinds import UNDECLARED, Kinds
from awa_lib.enqueue.middleware import through_middleware
from awa_lib.enqueue.new_jobs import NewJobs, check, check_one
from awa_lib.enqueue.workflow_checks import check_options, check_order, check_rules, unknown_parent
from awa_lib.enqueue.workflow_nodes import (
    LARGEST,
    PATIENT,
    Group,
    Node,
    OnParentFailure,
    Part,
    Signal,
    Task,
    When,
)
from awa_lib.errors import Conflict, ValidationError
from awa_lib.validation import (
    items_of,
    moment_of,
    name_of,
    names_of,
    seconds_of,
    unknown_word,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from typing import Unpack

    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.enqueue.workflow_nodes import After

__all__ = ["Workflow"]

# Options of other inserts, and what takes their place here.
_INSTEAD: Final = (("run_at", "not_before"), ("delay", "wait"))


class Workflow:
    """The tasks of a workflow, before they are inserted."""

    def __init__(self, name: str, *, key: str | None = None, kinds: Kinds = UNDECLARED) -> None:
        self.name = name_of("name of a workflow", name)
        self.key = None if key is None else name_of("key", key)
        self.id: int | None = None
        """Set when the workflow is inserted."""
        self.created: bool | None = None
        """False when nothing was inserted, because a workflow with this name and key, or an
        extension with this key, was there already."""
        self.parts: list[Part] = []
        self.signals: dict[str, Signal] = {}
        self._closed = False
        self._kinds = kinds
        self._names: dict[str, Node] = {}
        # Kinds of tasks that were given no name, by the name that they have.
        self._unnamed: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        # What each empty group waits for, by its name.
        self._empty: dict[str, list[Node | str]] = {}
        # Of the parts that result_of= has looked at, in their order.
        self._node_kinds: dict[Node, frozenset[str]] = {}
        self._size = 0

    def add(
        self,
        args: Any,
        *,
        name: str | None = None,
        after: After = None,
        when: When = "all_succeeded",
        on_parent_failure: OnParentFailure = "skip",
        result_of: After = None,
        signal: str | Iterable[str] | None = None,
        not_before: datetime | str | None = None,
        wait: float | str | timedelta | None = None,
        **options: Unpack[InsertOptions],
    ) -> Task:
        """Add a task and return it.

        - ``name``: unique in the workflow; by default the kind, with a number if it is taken.
        - ``after``: the tasks and groups that it waits for, or their names.
        - ``when``: what must be true of them before it starts.  ``all_succeeded``; ``all_done``:
          all have ended, in any way; ``any_failed`` and ``any_succeeded``: at once when the first
          has; ``all_failed``; ``always``: as ``all_done``, also when the workflow is cancelled.  A
          cancelled task counts as failed.  A task whose condition can no longer be met is skipped.
        - ``on_parent_failure="wait"``: do not skip it when a parent fails, wait for a retry of
          that.  Only with ``all_succeeded``.
        - ``result_of``: as ``after``, for tasks whose results its handler reads with
          ``task_result``.  A task whose kind is declared without ``result=True`` is refused.
        - ``signal``: names of signals that it also waits for; see ``Client.signal``.
        - ``not_before``: it does not run before this time.
        - ``wait``: how long it waits after its condition is met: seconds, a timedelta, ``10m``.

        The options are those of ``insert`` without unique, run_at, delay.
        Raises ValidationError, SerializationError.
        """
        jobs = self._check([args], options)
        node = Task(self._name(name, jobs.kinds[0]))
        self._add(
            node,
            jobs,
            self._parents(after) + self._read(result_of),
            when=when,
            on_parent_failure=on_parent_failure,
            signal=signal,
            not_before=not_before,
            wait=wait,
        )
        return node

    def add_many(
        self,
        jobs: Iterable[Any],
        *,
        name: str | None = None,
        after: After = None,
        when: When = "all_succeeded",
        on_parent_failure: OnParentFailure = "skip",
        signal: str | Iterable[str] | None = None,
        not_before: datetime | str | None = None,
        wait: float | str | timedelta | None = None,
        **options: Unpack[InsertOptions],
    ) -> Group:
        """Add a group of tasks and return it.

        ``jobs`` are args, or ``NewJob`` objects.  A task that waits for the group waits for all of
        them.  The options are those of ``add`` and hold for each task.  An empty group is one that
        has ended, and in which nothing failed; who waits for it waits for what it waits for.
        Raises as ``add``.
        """
        given = list(items_of("jobs", jobs))
        new = self._check(given, options)
        node = Group(self._name(name, new.kinds[0] if given else "group"))
        self._add(
            node,
            new,
            self._parents(after),
            when=when,
            on_parent_failure=on_parent_failure,
            signal=signal,
            not_before=not_before,
            wait=wait,
        )
        return node

    def __len__(self) -> int:
        """Return the number of tasks."""
        return self._size

    def close(self) -> None:
        """Take no more tasks: nothing would insert them."""
        self._closed = True

    def number(self, first: int, known: dict[str, int]) -> int:
        """Give each node its number, from ``first`` on; return the next that is free.

        The members of a group come after it.  ``known`` are nodes that the workflow has already.
        """
        number = first
        for part in self.parts:
            part.node.number = number
            number += 1 + (len(part.jobs.args) if isinstance(part.node, Group) else 0)
        for name, signal in self.signals.items():
            if name in known:
                signal.number = known[name]
            else:
                signal.number = number
                number += 1
        return number

    def parents(self, part: Part, known: dict[str, int]) -> set[int]:
        """Return the numbers of the nodes that a part waits for.

        An empty group is over, so what it waits for is waited for in its place, where the rules
        allow it.
        """
        if not self._empty or part.when not in PATIENT:
            return {self._number(parent, known) for parent in part.parents}
        found: set[int] = set()
        left, seen = list(part.parents), set()
        while left:
            parent = left.pop()
            name = parent if isinstance(parent, str) else parent.name
            if name in seen:
                continue
            seen.add(name)
            found.add(self._number(parent, known))
            left += self._empty.get(name, ())
        return found

    def names(self) -> list[str]:
        """Return the names of its nodes, and others that its tasks wait for."""
        others = {
            parent
            for part in self.parts
            for parent in part.parents
            if isinstance(parent, str) and parent not in self._names
        }
        return [*self._names, *others]

    def rename(self, known: Container[str], number: int) -> list[str]:
        """Give tasks that were given no name another, when theirs is known; return the new names.

        ``known`` are nodes that the workflow has already.  New names count on from ``number``: from
        that of its tasks, whatever their names are, the next is free nearly always.
        """
        new = []
        for name, kind in list(self._unnamed.items()):
            if name not in known:
                continue
            del self._unnamed[name]
            node = self._names.pop(name)
            self._numbers[kind] = max(number, self._numbers.get(kind, 1))
            node.name = self._free_name(kind, known)
            self._names[node.name] = node
            self._unnamed[node.name] = kind
            if name in self._empty:
                self._empty[node.name] = self._empty.pop(name)
            new.append(node.name)
        return new

    def unknown(self, known: Container[str]) -> tuple[str, str] | None:
        """Return a task and the name that it waits for, which is not in the workflow."""
        return unknown_parent(self.parts, self._names, known)

    def check(self, known: Iterable[str] = (), signals: Container[str] = ()) -> None:
        """Raise ValidationError if nothing was added, for an unknown or used name, or for a cycle.

        ``known`` are nodes that the workflow has already; ``signals`` are those of its signals.
        """
        if not self.parts:
            raise ValidationError(
                f"workflow {self.name!r} has no tasks", hint="flow.add(args) inside the block"
            )
        known = set(known)
        again = {name for name in self.signals if name in signals}
        if taken := sorted((known & self._names.keys()) - again):
            raise _taken(
                taken[0],
                "if an earlier attempt has added it, give the extension a key:"
                " client.extend_workflow(job.workflow_id, key=...)",
            )
        if (unknown := self.unknown(known)) is not None:
            child, name = unknown
            raise unknown_word(
                f"task {child!r} waits for {name!r}, which is not in the workflow",
                name,
                [*self._names, *known],
            )
        check_order(self.name, self.parts, self._names)

    def _check(self, jobs: Sequence[Any], options: InsertOptions) -> NewJobs:
        if self._closed:
            raise _closed(self.id)
        for given, instead in _INSTEAD:
            if options.get(given) is not None:
                raise ValidationError(
                    f"{given} is not an option of a task",
                    why="a task runs after those that it waits for",
                    hint=f"use {instead}=",
                )
        jobs, options = through_middleware(jobs, self._kinds, options)
        if len(jobs) == 1:
            new = check_one(jobs[0], kinds=self._kinds, **options)
        else:
            new = check(jobs, kinds=self._kinds, **options)
        check_options(new)
        size = self._size + len(jobs)
        if size > LARGEST:
            raise ValidationError(f"a workflow has at most {LARGEST:,} tasks, got {size:,}")
        return new

    def _name(self, name: str | None, kind: str) -> str:
        if name is None:
            name = self._free_name(kind, ())
            self._unnamed[name] = kind
        elif name_of("name of a task", name) in self._names:
            raise _taken(name)
        return name

    def _free_name(self, kind: str, known: Container[str]) -> str:
        name = kind
        while name in self._names or name in known:
            self._numbers[kind] = number = self._numbers.get(kind, 1) + 1
            name = f"{kind}_{number}"
        return name

    def _add(
        self,
        node: Task | Group,
        jobs: NewJobs,
        parents: list[Node | str],
        *,
        when: When,
        on_parent_failure: OnParentFailure,
        signal: str | Iterable[str] | None,
        not_before: datetime | str | None,
        wait: float | str | timedelta | None,
    ) -> None:
        check_rules(when, on_parent_failure, parents)
        if signal is not None:
            parents += self._signals(signal)
        before = None if not_before is None else moment_of(not_before, "not_before")
        seconds = None if wait is None else seconds_of("wait", wait)
        self._names[node.name] = node
        self._size += len(jobs.args)
        if not jobs.args and when == "all_succeeded":
            self._empty[node.name] = parents
        self.parts.append(Part(node, jobs, parents, when, on_parent_failure, before, seconds))

    def _signals(self, given: str | Iterable[str]) -> Iterator[Signal]:
        for name in names_of("signal", [given] if isinstance(given, str) else given):
            known = self._names.get(name)
            if known is None:
                known = self._names[name] = self.signals[name] = Signal(name)
            elif not isinstance(known, Signal):
                raise _taken(name)
            yield known

    def _read(self, result_of: After) -> list[Node | str]:
        read = self._parents(result_of, "result_of")
        for parent in read:
            self._check_result(parent)
        return read

    def _check_result(self, parent: Node | str) -> None:
        node = self._names.get(parent) if isinstance(parent, str) else parent
        for kind in () if node is None else self._kinds_of(node):
            if kind in self._kinds.declared and kind not in self._kinds.results:
                raise ValidationError(
                    f"the results of the kind {kind} are not kept, and result_of asks for them",
                    hint=f"declare it where its handler is: {self._kinds.decorator(kind)}",
                )

    def _kinds_of(self, node: Node) -> frozenset[str]:
        if node not in self._node_kinds:
            for part in islice(self.parts, len(self._node_kinds), None):
                self._node_kinds[part.node] = frozenset(part.jobs.kinds)
        return self._node_kinds.get(node, frozenset())

    def _parents(self, after: After, field: str = "after") -> list[Node | str]:
        if after is None:
            return []
        if isinstance(after, (Node, str)):
            given = [after]
        elif isinstance(after, Iterable):
            given = list(after)
        else:
            raise _no_parent(field, after)
        for parent in given:
            if isinstance(parent, str):
                continue
            if not isinstance(parent, Node):
                raise _no_parent(field, parent)
            if self._names.get(parent.name) is not parent:
                raise ValidationError(f"task {parent.name!r} belongs to another workflow")
        return given

    def _number(self, parent: Node | str, known: dict[str, int]) -> int:
        node = self._names.get(parent) if isinstance(parent, str) else parent
        number = known.get(str(parent)) if node is None else node.number
        assert number is not None, parent  # check() has looked
        return number


def _no_parent(field: str, value: object) -> ValidationError:
    return ValidationError(
        f"{field} must be what add or add_many returned, or a name, got {type(value).__name__}"
    )


def _closed(workflow_id: int | None) -> Conflict:
    more = "workflow(name)" if workflow_id is None else f"extend_workflow({workflow_id})"
    return Conflict(
        "the block of the workflow has ended, and takes no more tasks",
        why="its end inserts the workflow, and nothing would insert this task",
        hint=f"add it inside the block, or in another: with client.{more} as flow",
    )


def _taken(name: str, hint: str | None = None) -> ValidationError:
    return ValidationError(
        f"the name {name!r} is used twice in the workflow",
        why="names tell its tasks, groups and signals apart",
        hint=hint,
    )
