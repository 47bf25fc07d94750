"""Check the slots of queues: all taken, or held by waits for callbacks."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from awa_lib.doctor.finding import Finding, Severity
from awa_lib.reads.slots import queue_slots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Fleet, Waiting
    from awa_lib.reads.slots import QueueSlots

__all__ = ["slots"]


def slots(waiting: list[Waiting], fleet: Fleet) -> Iterator[Finding]:
    """Find queues whose jobs wait for a slot, and slots that waits for callbacks hold."""
    found: dict[str, float] = {}
    for part in waiting:
        if not part.paused:
            found[part.queue] = max(found.get(part.queue, 0.0), part.seconds)
    for name, one in sorted(queue_slots(fleet.live).items()):
        if one.blocked:
            severity = Severity.error if name in found else Severity.note
            yield _blocked(one, severity, found.get(name))
        elif one.full and name in found:
            yield _full(one, found[name])


def _blocked(one: QueueSlots, severity: Severity, oldest: float | None) -> Finding:
    late = "" if oldest is None else f"; the oldest job has waited {_span(oldest)}"
    return Finding(
        "slots",
        severity,
        f"waits for callbacks hold {one.waiting:,} of {one.slots:,} slots of the queue {one.queue}",
        f"a handler keeps its slot while it waits, unless it may begin again{late}",
        "awa worker MODULE:CLIENT --callback-hold 60s",
        one.queue,
    )


def _full(one: QueueSlots, oldest: float) -> Finding:
    taken = f"all {one.slots:,} slots" if one.slots > 1 else "the one slot"
    return Finding(
        "slots",
        Severity.warning,
        f"{taken} of the queue {one.queue} {'are' if one.slots > 1 else 'is'} taken",
        f"the oldest job has waited {_span(oldest)}; jobs arrive faster than they end",
        f"awa worker MODULE:CLIENT --queue {shlex.quote(f'{one.queue}={2 * one.slots}')}",
        one.queue,
    )


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} min"  # noqa: PLR2004 - two minutes
