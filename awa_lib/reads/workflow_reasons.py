"""Read why tasks of a workflow wait, and why they were skipped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from awa_lib._sql import sql
from awa_lib.codec.pgtext import int_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["MOST_WAITS", "SkipCause", "WorkflowWait", "causes_of", "waits_of"]

MOST_WAITS: Final = 5
"""Of a task that waits for more, the rest is a number."""
_OPEN: Final = ("waiting", "started", "open")
# Rules by which a single parent decides that a task is skipped.
_SKIPPED_BY_ONE: Final = ("all_succeeded", "all_failed")


@dataclass(frozen=True, slots=True)
class WorkflowWait:
    """A reason why a task waits."""

    reason: Literal["end", "signal", "retry", "time"]
    """For the end of a task or group, for a signal that was not sent, for the retry of a task or
    group that failed, was cancelled or skipped, or for a time."""
    name: str | None = None
    """Of the task, group or signal."""
    state: str | None = None
    """Of the task or group."""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SkipCause:
    """A task or group before a skipped one, whose end decided that."""

    name: str
    type: Literal["task", "group"]
    state: str
    """``failed``, ``cancelled``, ``skipped`` or ``succeeded``; of a group, of a task of it."""


def waits_of(
    workflow_id: int, waiting: Sequence[int], blocked: Sequence[int]
) -> Op[dict[int, list[WorkflowWait]]]:
    """Return what tasks wait for, by their numbers: of each at most five, in order.

    ``blocked`` are those that wait for the retry of a parent.
    """
    if not waiting:
        return {}
    rows = yield sql.read_workflows(
        "waits",
        workflow=workflow_id,
        children=int_array(waiting),
        failed=int_array(blocked),
        most=MOST_WAITS,
    )
    waits: dict[int, list[WorkflowWait]] = {}
    for child, name, kind, state in rows:
        if kind == "signal":
            one = WorkflowWait("signal", name)
        else:
            one = WorkflowWait("end" if state in _OPEN else "retry", name, state)
        waits.setdefault(child, []).append(one)
    return waits


def causes_of(workflow_id: int, rules: Mapping[int, str]) -> Op[dict[int, SkipCause]]:
    """Return why tasks were skipped, by their numbers; ``rules`` are those of the tasks."""
    skipped = {number: rule for number, rule in rules.items() if rule in _SKIPPED_BY_ONE}
    if not skipped:
        return {}
    rows = yield sql.read_workflows(
        "causes",
        workflow=workflow_id,
        children=int_array(skipped),
        all_failed=int_array(number for number, rule in skipped.items() if rule == "all_failed"),
    )
    return {child: SkipCause(name, kind, state) for child, name, kind, state in rows}
