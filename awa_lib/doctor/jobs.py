"""The checks of jobs and bulk operations."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from awa_lib.doctor.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Batch, Failing, Fleet, Stuck, Waiting

__all__ = [
    "batches",
    "callbacks",
    "failing",
    "kinds",
    "orphans",
    "promotion",
    "queues",
    "stuck_jobs",
]

# At most so many are counted.
_MOST: Final = 10_000
_MOST_WAITING: Final = 1_000


def _jobs(found: int, most: int = _MOST) -> str:
    if found >= most:
        return f"{most:,} jobs or more"
    return f"{found:,} job{'' if found == 1 else 's'}"


def _are(found: int) -> str:
    return "is" if found == 1 else "are"


def _who_rescues(fleet: Fleet) -> tuple[str, str]:
    """Say why nobody has seen to it, and what to do."""
    if not fleet.live:
        return "no worker runs, so nobody sees to them", "awa worker MODULE:CLIENT"
    if not fleet.lock:
        return "no worker leads, so nobody sees to them", "awa doctor --check leader"
    return "the leader does not get to them; its log says why", "awa workers"


def stuck_jobs(stuck: dict[str, Stuck], fleet: Fleet) -> Iterator[Finding]:
    """Find running jobs without a worker, or past their deadline."""
    for key, words in (
        ("silent", "said to run, and no worker has been heard of for minutes"),
        ("overdue", "running past the deadline"),
    ):
        if found := stuck.get(key):
            cause, do = _who_rescues(fleet)
            yield Finding(
                "stuck",
                Severity.error,
                f"{_jobs(found.jobs)} {_are(found.jobs)} {words}",
                cause,
                do,
                f"job {found.ids[0]}",
            )


def orphans(stuck: dict[str, Stuck]) -> Iterator[Finding]:
    """Find running jobs that no rescue finds."""
    if found := stuck.get("orphaned"):
        few = " ".join(map(str, found.ids))
        yield Finding(
            "orphans",
            Severity.error,
            f"{_jobs(found.jobs)} {_are(found.jobs)} running with neither heartbeat nor deadline",
            "the row was written by hand or by a foreign program, and no rescue finds it",
            f"awa job cancel {few} && awa job retry {few}",
            f"job {found.ids[0]}",
        )


def callbacks(stuck: dict[str, Stuck], fleet: Fleet) -> Iterator[Finding]:
    """Find waits for a callback that are over."""
    if found := stuck.get("expired"):
        cause, do = _who_rescues(fleet)
        yield Finding(
            "callbacks",
            Severity.error,
            f"{_jobs(found.jobs)} {_are(found.jobs)} waiting for a callback past the time-out",
            cause,
            do,
            f"job {found.ids[0]}",
        )


def promotion(stuck: dict[str, Stuck], fleet: Fleet) -> Iterator[Finding]:
    """Find scheduled jobs and retries that are due and not available."""
    if found := stuck.get("unpromoted"):
        cause, do = _who_rescues(fleet)
        yield Finding(
            "promotion",
            Severity.error,
            f"{_jobs(found.jobs)} {_are(found.jobs)} due, and not made available",
            cause,
            do,
            f"job {found.ids[0]}",
        )


def queues(waiting: list[Waiting], fleet: Fleet) -> Iterator[Finding]:
    """Find queues with jobs and no worker."""
    worked = {given["queue"] for one in fleet.live for given in one.queues}
    by_queue: dict[str, list[Waiting]] = {}
    for one in waiting:
        by_queue.setdefault(one.queue, []).append(one)
    for queue, parts in by_queue.items():
        jobs = sum(part.jobs for part in parts)
        held = "" if all(part.jobs < _MOST_WAITING for part in parts) else " or more"
        count = f"{jobs:,} job{'' if jobs == 1 else 's'}{held}"
        name = shlex.quote(queue)
        if parts[0].paused:
            yield Finding(
                "queues",
                Severity.note,
                f"the queue {queue} is paused, and {count} wait{'s' if jobs == 1 else ''}",
                None,
                f"awa queue resume {name}",
                queue,
            )
        elif queue not in worked:
            yield Finding(
                "queues",
                Severity.error,
                f"no worker works the queue {queue}, where {count} wait{'s' if jobs == 1 else ''}",
                f"the oldest for {max(part.seconds for part in parts) / 60:,.0f} min; "
                + (
                    f"live workers have {', '.join(sorted(worked))}" if worked else "no worker runs"
                ),
                f"awa worker MODULE:CLIENT --queue {name}",
                queue,
            )


def kinds(waiting: list[Waiting], fleet: Fleet) -> Iterator[Finding]:
    """Find kinds with jobs in a worked queue that no worker knows."""
    worked = {given["queue"] for one in fleet.live for given in one.queues}
    known = {one.name for one in fleet.kinds}
    for one in waiting:
        if one.kind in known or one.paused or one.queue not in worked:
            continue
        yield Finding(
            "kinds",
            Severity.error,
            f"no worker knows the kind {one.kind}, of which {_jobs(one.jobs, _MOST_WAITING)} "
            f"wait{'s' if one.jobs == 1 else ''} in the queue {one.queue}",
            "no live worker declares it: its handler was renamed, or is not deployed; workers of "
            "awa 0.5 fail such jobs for good",
            f"awa kind show {shlex.quote(one.kind)}",
            one.kind,
        )


def failing(found: list[Failing]) -> Iterator[Finding]:
    """Find kinds whose attempts nearly all fail."""
    for one in found:
        name = shlex.quote(one.kind)
        yield Finding(
            "failing",
            Severity.warning,
            f"{one.failed:,} of the last {one.attempts:,} attempts of the kind {one.kind} failed",
            f"most often: {one.error}" if one.error else None,
            f"awa job list --kind {name} --state failed,retryable -o wide",
            one.kind,
        )


def batches(found: list[Batch]) -> Iterator[Finding]:
    """Find bulk operations that hang or have failed."""
    for one in found:
        done = f"after {one.processed:,} of {one.total_matched:,} jobs"
        if one.state == "failed":
            yield Finding(
                "batches",
                Severity.note,
                f"the bulk operation {one.id} ({one.operation}) failed {done}",
                one.last_error or "the rest was left as it was",
                f"awa batch show {one.id}",
                one.id,
            )
            continue
        begun = f"is at work for {one.seconds / 3600:.0f} h, and is {done[6:]}"
        yield Finding(
            "batches",
            Severity.warning,
            f"the bulk operation {one.id} ({one.operation}) "
            + (begun if one.state == "running" else f"has not begun in {one.seconds / 60:.0f} min"),
            one.last_error or "the leader carries it out: there is none, or it does not get to it",
            f"awa batch run {one.id}",
            one.id,
        )
