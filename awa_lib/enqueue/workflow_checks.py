"""Checks of a whole workflow, before its nodes have numbers."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Final, get_args

from awa_lib.enqueue.workflow_nodes import OnParentFailure, When
from awa_lib.errors import ValidationError
from awa_lib.validation import unknown_word

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Sequence

    from awa_lib.enqueue.new_jobs import NewJobs
    from awa_lib.enqueue.workflow_nodes import Part

__all__ = ["check_options", "check_order", "check_rules", "unknown_parent"]

_RULES: Final = get_args(When)
_ON_PARENT_FAILURES: Final = get_args(OnParentFailure)


def check_options(jobs: NewJobs) -> None:
    """Raise ValidationError for options that tasks cannot have."""
    for one in jobs.own or (jobs.options,):
        if one.unique is not None:
            raise ValidationError(
                "a task of a workflow cannot be unique by itself",
                why="it would be refused when it is due, long after the insert",
                hint="give the workflow a key: client.workflow(name, key=...)",
            )
        if one.run_at is not None or one.delay is not None:
            raise ValidationError(
                "run_at and delay are not options of a task", hint="use not_before= or wait="
            )


def check_rules(when: str, on_parent_failure: str, parents: Sequence[object]) -> None:
    """Raise ValidationError for an unknown rule, and for one that could never be met."""
    if when not in _RULES:
        raise _unknown("when", when, _RULES)
    if on_parent_failure not in _ON_PARENT_FAILURES:
        raise _unknown("on_parent_failure", on_parent_failure, _ON_PARENT_FAILURES)
    if on_parent_failure == "wait" and when != "all_succeeded":
        raise ValidationError(
            f"on_parent_failure='wait' and when={when!r} were both given",
            why="only a task that needs the success of its parents can wait for their retry",
        )
    if when in ("any_failed", "any_succeeded", "all_failed") and not parents:
        raise ValidationError(f"when={when!r} needs after=", why="without parents it is never true")


def _unknown(field: str, value: object, known: Sequence[str]) -> ValidationError:
    return unknown_word(f"{field} must be one of {', '.join(known)}, got {value!r}", value, known)


def unknown_parent(
    parts: Sequence[Part], names: Container[str], known: Container[str]
) -> tuple[str, str] | None:
    """Return a task and the name that it waits for, which is neither in ``names`` nor ``known``."""
    for part in parts:
        for parent in part.parents:
            if isinstance(parent, str) and parent not in names and parent not in known:
                return part.node.name, parent
    return None


def check_order(workflow: str, parts: Sequence[Part], names: Collection[str]) -> None:
    """Raise ValidationError for tasks that wait for each other.

    A cycle is possible only with a name that stands for a task that was added later: the look for
    one takes a quarter of the insert.
    """
    if not _looks_ahead(parts, names):
        return
    graph = {
        part.node.name: [
            name
            for parent in part.parents
            if (name := parent if isinstance(parent, str) else parent.name) in names
        ]
        for part in parts
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        path = " -> ".join(error.args[1])
        raise ValidationError(
            f"the tasks of workflow {workflow!r} wait for each other: {path}",
            why="none of them could ever start",
        ) from None


def _looks_ahead(parts: Sequence[Part], names: Container[str]) -> bool:
    seen: set[str] = set()
    for part in parts:
        for parent in part.parents:
            if isinstance(parent, str) and parent not in seen and parent in names:
                return True
        seen.add(part.node.name)
    return False
