"""Build a workflow: named tasks, groups and signals, and what each task waits for."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final, get_args

from awa_lib.enqueue.kinds import UNDECLARED, Kinds
from awa_lib.enqueue.middleware import through_middleware
from awa_lib.enqueue.new_jobs import NewJobs, check
from awa_lib.enqueue.workflow_nodes import (
    LARGEST,
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

# What waits for an empty group by one of these waits for what the group would have waited for.
_PATIENT: Final = frozenset({"all_succeeded", "all_done", "always"})


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
        read = self._parents(result_of, "result_of")
        for parent in read:
            self._check_result(parent)
        self._add(
            node,
            jobs,
            after=[*self._parents(after), *read],
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
            after=after,
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

    def numbered(self, first: int, known: dict[str, int]) -> Iterator[tuple[Node, int]]:
        """Give each node its number from ``first`` on; the members of a group come after it.

        ``known`` are the nodes that the workflow has already.  Returns nodes with the number of
        tasks behind them.
        """
        number = first
        for part in self.parts:
            part.node.number = number
            members = len(part.jobs.args) if isinstance(part.node, Group) else 0
            number += 1 + members
            yield part.node, members
        for name, signal in self.signals.items():
            if name in known:
                signal.number = known[name]
            else:
                signal.number = number
                number += 1
                yield signal, 0

    def parents(self, part: Part, known: dict[str, int]) -> list[int]:
        """Return the numbers of the nodes that a part waits for, each once, in order.

        An empty group is over, so what it waits for is waited for in its place, where the rules
        allow it.  Raises ValidationError for an unknown name.
        """
        empty = self._empty if part.when in _PATIENT else {}
        found: set[int] = set()
        left, seen = list(part.parents), set()
        while left:
            parent = left.pop()
            name = parent if isinstance(parent, str) else parent.name
            if name in seen:
                continue
            seen.add(name)
            found.add(self._number(part.node.name, name, known))
            left += empty.get(name, ())
        return sorted(found)

    def check(self, known: Iterable[str] = (), signals: Container[str] = ()) -> None:
        """Raise ValidationError if nothing was added, or for an unknown name or a cycle.

        Gives tasks that were given no name one that is not in ``known``, which are the names of the
        nodes that the workflow has already; ``signals`` are those of its signals.
        """
        if not self.parts:
            raise ValidationError(
                f"workflow {self.name!r} has no tasks", hint="flow.add(args) inside the block"
            )
        known = set(known)
        for name in [one for one in self._unnamed if one in known and one in self._names]:
            node = self._names.pop(name)
            node.name = self._free_name(self._unnamed[name], known)
            self._names[node.name] = node
            if name in self._empty:
                self._empty[node.name] = self._empty.pop(name)
        again = {name for name in self.signals if name in signals}
        if taken := sorted((known & self._names.keys()) - again):
            raise _taken(
                taken[0],
                "if an earlier attempt has added it, give the extension a key:"
                " client.extend_workflow(job.workflow_id, key=...)",
            )
        graph: dict[str, list[str]] = {}
        for part in self.parts:
            graph[part.node.name] = names = []
            for parent in part.parents:
                name = parent if isinstance(parent, str) else parent.name
                if name in self._names:
                    names.append(name)
                elif name not in known:
                    raise unknown_word(
                        f"task {part.node.name!r} waits for {name!r}, which is not in the workflow",
                        name,
                        [*self._names, *known],
                    )
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            path = " -> ".join(error.args[1])
            raise ValidationError(
                f"the tasks of workflow {self.name!r} wait for each other: {path}",
                why="none of them could ever start",
            ) from None

    def _check(self, jobs: Sequence[Any], options: InsertOptions) -> NewJobs:
        if self._closed:
            raise _closed(self.id)
        for given, instead in (("run_at", "not_before"), ("delay", "wait")):
            if options.get(given) is not None:
                raise ValidationError(
                    f"{given} is not an option of a task",
                    why="a task runs after those that it waits for",
                    hint=f"use {instead}=",
                )
        jobs, options = through_middleware(jobs, self._kinds, options)
        new = check(jobs, kinds=self._kinds, **options)
        own = new.own or [new.options]
        if any(one.unique is not None for one in own):
            raise ValidationError(
                "a task of a workflow cannot be unique by itself",
                why="it would be refused when it is due, long after the insert",
                hint="give the workflow a key: client.workflow(name, key=...)",
            )
        if any(one.run_at is not None or one.delay is not None for one in own):
            raise ValidationError(
                "run_at and delay are not options of a task", hint="use not_before= or wait="
            )
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
        *,
        after: After,
        when: When,
        on_parent_failure: OnParentFailure,
        signal: str | Iterable[str] | None,
        not_before: datetime | str | None,
        wait: float | str | timedelta | None,
    ) -> None:
        for field_name, value, of in (
            ("when", when, When),
            ("on_parent_failure", on_parent_failure, OnParentFailure),
        ):
            if value not in get_args(of):
                raise unknown_word(
                    f"{field_name} must be one of {', '.join(get_args(of))}, got {value!r}",
                    value,
                    get_args(of),
                )
        if on_parent_failure == "wait" and when != "all_succeeded":
            raise ValidationError(
                f"on_parent_failure='wait' and when={when!r} were both given",
                why="only a task that needs the success of its parents can wait for their retry",
            )
        parents = self._parents(after)
        if when in ("any_failed", "any_succeeded", "all_failed") and not parents:
            raise ValidationError(
                f"when={when!r} needs after=", why="without parents it is never true"
            )
        names = [] if signal is None else [signal] if isinstance(signal, str) else signal
        for name in names_of("signal", names):
            known = self._names.get(name)
            if known is None:
                known = self._names[name] = self.signals[name] = Signal(name)
            elif not isinstance(known, Signal):
                raise _taken(name)
            parents.append(known)
        before = None if not_before is None else moment_of(not_before, "not_before")
        seconds = None if wait is None else seconds_of("wait", wait)
        self._names[node.name] = node
        self._size += len(jobs.args)
        if not jobs.args and when == "all_succeeded":
            self._empty[node.name] = parents
        self.parts.append(Part(node, jobs, parents, when, on_parent_failure, before, seconds))

    def _check_result(self, parent: Node | str) -> None:
        node = self._names.get(parent) if isinstance(parent, str) else parent
        kinds = {kind for part in self.parts if part.node is node for kind in part.jobs.kinds}
        for kind in kinds:
            if kind in self._kinds.declared and kind not in self._kinds.results:
                raise ValidationError(
                    f"the results of the kind {kind} are not kept, and result_of asks for them",
                    hint=f"declare it where its handler is: {self._kinds.decorator(kind)}",
                )

    def _parents(self, after: After, field: str = "after") -> list[Node | str]:
        if after is None:
            return []
        given = [after] if isinstance(after, Node | str) else list(_items(after, field))
        for parent in given:
            if isinstance(parent, str):
                continue
            if not isinstance(parent, Node):
                raise ValidationError(
                    f"{field} must be what add or add_many returned, or a name,"
                    f" got {type(parent).__name__}"
                )
            if self._names.get(parent.name) is not parent:
                raise ValidationError(f"task {parent.name!r} belongs to another workflow")
        return given

    def _number(self, child: str, name: str, known: dict[str, int]) -> int:
        node = self._names.get(name)
        number = known.get(name) if node is None else node.number
        assert number is not None, child  # check() has looked
        return number


def _items(after: Iterable[Node | str], field: str) -> Iterable[Node | str]:
    if isinstance(after, Iterable):
        return after
    raise ValidationError(
        f"{field} must be what add or add_many returned, or a name, got {type(after).__name__}"
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
