"""Alerts: what goes wrong now with jobs, queues and workers, the worst harm first.

An alert names a harm that goes on, never an oddity: a worker that starts or stops cleanly raises
none.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from awa_cli.views.words import counted, now, span
from awa_cli.views.workers import is_recent, why_silent, worker_name, worker_trouble
from awa_lib.reads.incidents import Incidents
from awa_lib.reads.slots import queue_slots

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from awa_lib.reads.incidents import FailingKind
    from awa_lib.reads.queues import QueueStat
    from awa_lib.reads.runtime import RuntimeInstance
    from awa_lib.reads.slots import QueueSlots

__all__ = ["ALERT_SIGNS", "ALERT_STYLES", "Alert", "find_alerts", "has_gone"]

# Between the last worker of a release and the first of the next a deploy leaves a gap.
_GAP_SECONDS: Final = 30.0
# Workers stand for election every ten seconds, and report the result within a second.
_SETTLED_SECONDS: Final = 30.0
# A queue whose oldest job waits for less is working off a burst.
_FULL_SECONDS: Final = 30.0
# A job that waits for this long is late, whatever the reason.
_LATE_SECONDS: Final = 300.0
# Below a minute of waiting there is no whole minute that shows the pace of the queue.
_PACED_SECONDS: Final = 60.0
# At the pace of now the last job will wait this many times as long as the oldest has: lag grows.
_GROWS_TIMES: Final = 2.0
# By then the leader has rescued the jobs of a worker that fell silent.
_RESCUED_SECONDS: Final = 300.0
# A worker that has stopped cleanly is shown for a while, so that a deploy can be followed.
_STOPPED_SECONDS: Final = 600.0
# The harms, the worst first: jobs that nobody will run, jobs that fail, jobs that wait.
_HARM: Final = (
    "no-workers",
    "failing",
    "unworked",
    "blocked",
    "no-leader",
    "silent",
    "full",
    "growing",
    "late",
    "degraded",
    "gone",
    "paused",
)
_ERRORS: Final = frozenset(_HARM[: _HARM.index("silent") + 1])

ALERT_STYLES: Final = {"error": "bold red", "warning": "yellow", "note": "bright_black"}
# A sign in Unicode, and a sign in ASCII.
ALERT_SIGNS: Final = {"error": "✗x", "warning": "⚠!", "note": "·-"}


@dataclass(frozen=True, slots=True)
class Alert:
    """A harm that goes on, when it began, and what to do next.

    ``page`` is what to open, with the id of its ``subject`` if it needs one: ``queue``,
    ``failure``, ``failures`` or ``workers``.  ``do`` is a command.
    """

    rule: str
    text: str
    do: str
    page: str
    subject: str | None = None
    since: datetime | None = None
    jobs: int = 0
    """How many jobs it harms."""
    queues: tuple[str, ...] = ()
    """The queues that it concerns, none for all."""

    @property
    def severity(self) -> str:
        """Return ``error``, ``warning`` or ``note``."""
        if self.rule == "paused":
            return "note"
        return "error" if self.rule in _ERRORS else "warning"

    @property
    def queue(self) -> str | None:
        """Return the queue to open, if it is about one."""
        return self.subject if self.page == "queue" else None


def find_alerts(
    queues: Sequence[QueueStat],
    fleet: Sequence[RuntimeInstance],
    incidents: Incidents | None = None,
) -> list[Alert]:
    """Return the alerts, the worst harm first."""
    known = Incidents() if incidents is None else incidents
    live = [one for one in fleet if not one.stale and not one.stopped]
    found = [*_of_fleet(queues, fleet, live), *map(_failing, known.failing)]
    if live:
        slots = queue_slots(live)
        for one in queues:
            found += _of_queue(one, slots.get(one.queue), known)
    return sorted(found, key=lambda one: (_HARM.index(one.rule), -one.jobs, one.subject or ""))


def has_gone(one: RuntimeInstance) -> bool:
    """Return True for a worker that stopped cleanly some time ago: it is of no interest."""
    return one.stopped and _ago(one.last_seen_at) > _STOPPED_SECONDS


def _of_fleet(
    queues: Sequence[QueueStat], fleet: Sequence[RuntimeInstance], live: list[RuntimeInstance]
) -> Iterator[Alert]:
    ready = [one for one in queues if not one.paused and (one.lag_seconds or 0) > _GAP_SECONDS]
    if not live and ready:
        waiting = sum(one.available for one in ready)
        left = max((one.last_seen_at for one in fleet), default=None)
        text = f"no worker is running, and {counted(waiting)} could run"
        yield Alert("no-workers", text, _START, "workers", since=left, jobs=waiting)
    if _leaderless(fleet, live):
        text = "no leader: nothing is promoted, rescued or cleaned up"
        led = max((one.last_seen_at for one in fleet if one.leader), default=None)
        yield Alert("no-leader", text, "awa doctor --check leader", "workers", since=led)
    yield from _silent([one for one in fleet if one.silent and is_recent(one)])
    for one in live:
        # The first report is written before the loops run.
        if not one.healthy and not one.shutting_down and _age(one) > _SETTLED_SECONDS:
            text = f"{worker_name(one)} is degraded: {_down(one)}"
            yield Alert("degraded", text, "awa workers -o wide", "workers")


def _leaderless(fleet: Sequence[RuntimeInstance], live: list[RuntimeInstance]) -> bool:
    """Return True when no worker leads, and neither a start nor a stop explains it."""
    settled = any(not one.shutting_down and _age(one) > _SETTLED_SECONDS for one in live)
    # So does the death of the leader: another one is elected within seconds.
    over = any(
        (one.shutting_down or (one.leader and one.silent))
        and _ago(one.last_seen_at) < _SETTLED_SECONDS
        for one in fleet
    )
    return settled and not over and not any(one.leader for one in live)


def _silent(silent: list[RuntimeInstance]) -> Iterator[Alert]:
    """Yield an alert for workers whose jobs wait for their rescue, and one for others."""
    fresh = [
        one
        for one in silent
        if one.in_flight and one.rescued_at is None and _ago(one.last_seen_at) < _RESCUED_SECONDS
    ]
    for rule, found in (("silent", fresh), ("gone", [one for one in silent if one not in fresh])):
        if not found:
            continue
        jobs = sum(one.in_flight for one in found)
        one = found[0] if len(found) == 1 else None
        who = counted(len(found), "worker") if one is None else worker_name(one)
        text = f"{who} fell silent: killed, hung or cut off"
        if rule == "silent":
            text = f"{who} fell silent with {counted(jobs)} in flight: the leader rescues them"
        elif one is not None:
            text = f"{who} fell silent: {why_silent(one)}"
        since = min(one.last_seen_at for one in found)
        yield Alert(rule, text, "awa workers --all -o wide", "workers", since=since, jobs=jobs)


def _failing(one: FailingKind) -> Alert:
    text = f"{one.kind} fails in {one.failed:,} of {counted(one.attempts, 'attempt')}"
    known = one.failure is not None and one.message is not None
    if known:
        error = (one.error_type or "").rpartition(".")[2]
        text += f": {': '.join(part for part in (error, one.message) if part)}"
    do = f"awa failure show {one.failure}"
    if not known:
        do = f"awa failure list --kind {shlex.quote(one.kind)}"
    page, subject = ("failure", one.failure) if known else ("failures", None)
    queues = tuple(one.queues)
    return Alert("failing", text, do, page, subject, one.since, one.failed, queues=queues)


def _of_queue(one: QueueStat, slots: QueueSlots | None, known: Incidents) -> Iterator[Alert]:
    """Yield the worst alert of a queue that has jobs to run."""
    lag = one.lag_seconds or 0.0
    name, count = shlex.quote(one.queue), counted(one.available)
    show = f"awa queue show {name}"
    since = now() - timedelta(seconds=lag)

    def alert(rule: str, text: str, do: str = show) -> Alert:
        text = f"{one.queue} {text}"
        return Alert(rule, text, do, "queue", one.queue, since, one.available, queues=(one.queue,))

    if not one.available:
        return
    if one.paused:
        yield alert("paused", f"is paused, and {count} could run", f"awa queue resume {name}")
    elif slots is None:
        if lag > _GAP_SECONDS:
            yield alert("unworked", f"has {count} and no worker", f"{_START} --queue {name}")
    elif slots.blocked and lag > _FULL_SECONDS:
        held = f"{slots.waiting:,} of {counted(slots.slots, 'slot')}"
        yield alert("blocked", f"is blocked: waits for callbacks hold {held}, and {count} wait")
    elif slots.full and lag > _FULL_SECONDS:
        taken = f"all {counted(slots.slots, 'slot')} are taken"
        taken = taken if slots.slots > 1 else "its one slot is taken"
        rest = _rest(one, lag, known)
        last = f", the last for {span(rest)}" if rest else f", the oldest for {span(lag)}"
        yield alert("full", f"is full: {taken}, and {count} wait{last}")
    elif (rest := _rest(one, lag, known)) is not None:
        yield alert("growing", f"falls behind: {count} wait, the last for {span(rest)}")
    elif lag > _LATE_SECONDS:
        yield alert("late", f"is late: {count} wait, the oldest for {span(lag)}")


def _rest(one: QueueStat, lag: float, known: Incidents) -> float | None:
    """Return how long the last job will wait if that is longer than before; else None."""
    pace = known.pace(one.queue, lag) if lag > _PACED_SECONDS else None
    rest = one.available / pace if pace else 0.0
    return rest if rest > max(_GROWS_TIMES * lag, _LATE_SECONDS) else None


_START: Final = "awa worker MODULE:CLIENT"


def _down(one: RuntimeInstance) -> str:
    return worker_trouble(one) or "its log says why"


def _age(one: RuntimeInstance) -> float:
    """Return how long a worker had run when it last reported."""
    return (one.last_seen_at - one.started_at).total_seconds()


def _ago(moment: datetime) -> float:
    return (now() - moment).total_seconds()
