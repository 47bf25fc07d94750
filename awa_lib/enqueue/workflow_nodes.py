"""What a workflow is made of: tasks, groups, signals, and the parts that a program adds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from awa_lib.enqueue.new_jobs import NewJobs

__all__ = [
    "LARGEST",
    "PATIENT",
    "After",
    "Group",
    "Node",
    "OnParentFailure",
    "Part",
    "Signal",
    "Task",
    "When",
]

LARGEST: Final = 100_000
"""The most tasks of a workflow."""

When: TypeAlias = Literal[
    "all_succeeded", "all_done", "any_failed", "any_succeeded", "all_failed", "always"
]
OnParentFailure: TypeAlias = Literal["skip", "wait"]
PATIENT: Final = frozenset({"all_succeeded", "all_done", "always"})
"""The rules by which a task without open parents still waits for its signals."""


@dataclass(eq=False, slots=True)
class Node:
    """A node of a workflow.  ``number`` is its number in the workflow, once it is inserted."""

    name: str
    number: int | None = field(default=None, init=False)


@dataclass(eq=False, slots=True)
class Task(Node):
    """A task: one job.  ``job_id`` is the id of its job, once the workflow is inserted."""

    job_id: int | None = field(default=None, init=False)


@dataclass(eq=False, slots=True)
class Group(Node):
    """Tasks that are awaited together.  ``job_ids`` are their jobs, in order, once inserted."""

    job_ids: list[int] = field(default_factory=list, init=False)


class Signal(Node):
    """A signal: succeeds when it is sent."""

    __slots__ = ()


After: TypeAlias = "Node | str | Iterable[Node | str] | None"


class Part(NamedTuple):
    """What one call of ``add`` or ``add_many`` adds."""

    node: Task | Group
    jobs: NewJobs
    parents: list[Node | str]
    when: When
    on_parent_failure: OnParentFailure
    not_before: datetime | None
    wait: float | None
