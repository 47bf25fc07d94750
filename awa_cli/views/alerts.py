"""Alerts: problems of queues and workers that need attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_cli.views.words import counted, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.queues import QueueStat
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["Alert", "find_alerts"]

# An available job that waits longer than this raises an alert.
_LATE_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Alert:
    """A problem of a queue, or of the fleet if ``queue`` is None."""

    text: str
    queue: str | None = None


def find_alerts(queues: Sequence[QueueStat], fleet: Sequence[RuntimeInstance]) -> list[Alert]:
    """Return the alerts, the worst first."""
    live = [one for one in fleet if not one.stale]
    waiting = sum(one.available for one in queues)
    found = []
    if not live and waiting:
        found.append(Alert(f"no worker is running, and {counted(waiting)} could run"))
    if live and not any(one.leader for one in live):
        found.append(Alert("no leader: nothing is promoted, rescued or cleaned up"))
    found += [Alert(f"{_name(one)} is degraded") for one in live if not one.healthy]
    served = {queue.get("queue") for one in live for queue in one.queues}
    for one in queues:
        if live and one.available and one.queue not in served:
            text = f"{one.queue} has {counted(one.available)} and no worker"
            found.append(Alert(text, one.queue))
        elif one.paused and one.available:
            text = f"{one.queue} is paused, and {counted(one.available)} could run"
            found.append(Alert(text, one.queue))
        elif live and one.lag_seconds is not None and one.lag_seconds > _LATE_SECONDS:
            text = f"the oldest job of {one.queue} has waited {span(one.lag_seconds)}"
            found.append(Alert(text, one.queue))
    return found


def _name(one: RuntimeInstance) -> str:
    return f"{one.hostname or 'worker'}:{one.pid}"
