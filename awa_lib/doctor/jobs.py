"""Check jobs, bulk operations and workflows."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from awa_lib.doctor.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import (
        Failing,
        Fleet,
        OpenBulkOperation,
        Stuck,
        Waiting,
        WaitingWorkflow,
    )
    from awa_lib.reads.incidents import Incidents

__all__ = [
    "bulk_operations",
    "callbacks",
    "failing",
    "kinds",
    "orphans",
    "promotion",
    "queues",
    "stuck_jobs",
    "workflows",
]

# The statements count no further.
_STUCK_COUNTED: Final = 10_000
_WAITING_COUNTED: Final = 1_000


def _jobs(found: int, counted: int = _STUCK_COUNTED) -> str:
    if found >= counted:
        return f"{counted:,} jobs or more"
    return f"{found:,} job{'' if found == 1 else 's'}"


def _are(found: int) -> str:
    return "is" if found == 1 else "are"


def _why_left(fleet: Fleet) -> tuple[str, str]:
    """Return why the leader has not handled the jobs, and what to do."""
    if not fleet.live:
        return "no worker runs, so no leader handles them", "awa worker MODULE:CLIENT"
    if not fleet.lock:
        return "no worker leads, so no leader handles them", "awa doctor --check leader"
    return "the leader does not handle them; its log says why", "awa workers"


def stuck_jobs(stuck: dict[str, Stuck], fleet: Fleet) -> Iterator[Finding]:
    """Find running jobs without a worker, or past their deadline."""
    for key, words in (
        ("silent", "running without a recent heartbeat"),
        ("overdue", "running past the deadline"),
    ):
        if found := stuck.get(key):
            cause, do = _why_left(fleet)
            yield Finding(
                "stuck",
                Severity.error,
                f"{_jobs(found.jobs)} {_are(found.jobs)} {words}",
                cause,
                do,
                f"job {found.ids[0]}",
            )


def orphans(stuck: dict[str, Stuck]) -> Iterator[Finding]:
    """Find running jobs that no rescue covers."""
    if found := stuck.get("orphaned"):
        ids = " ".join(map(str, found.ids))
        yield Finding(
            "orphans",
            Severity.error,
            f"{_jobs(found.jobs)} {_are(found.jobs)} running with neither heartbeat nor deadline",
            "written by hand or by another program; a rescue needs a heartbeat or a deadline",
            f"awa job cancel {ids} && awa job retry {ids}",
            f"job {found.ids[0]}",
        )


def callbacks(stuck: dict[str, Stuck], fleet: Fleet) -> Iterator[Finding]:
    """Find jobs that wait for a callback past its time-out."""
    if found := stuck.get("expired"):
        cause, do = _why_left(fleet)
        yield Finding(
            "callbacks",
            Severity.error,
            f"{_jobs(found.jobs)} {_are(found.jobs)} waiting for a callback past the time-out",
            cause,
            do,
            f"job {found.ids[0]}",
        )


def promotion(stuck: dict[str, Stuck], fleet: Fleet) -> Iterator[Finding]:
    """Find scheduled and retryable jobs that are due but not available."""
    if found := stuck.get("unpromoted"):
        cause, do = _why_left(fleet)
        yield Finding(
            "promotion",
            Severity.error,
            f"{_jobs(found.jobs)} {_are(found.jobs)} due but not available",
            cause,
            do,
            f"job {found.ids[0]}",
        )


def queues(waiting: list[Waiting], fleet: Fleet) -> Iterator[Finding]:
    """Find queues that have jobs but no worker."""
    worked = _worked(fleet)
    elsewhere = f"live workers' queues: {', '.join(sorted(worked))}" if worked else "no worker runs"
    by_queue: dict[str, list[Waiting]] = {}
    for part in waiting:
        by_queue.setdefault(part.queue, []).append(part)
    for queue, parts in by_queue.items():
        jobs = sum(part.jobs for part in parts)
        oldest = max(part.seconds for part in parts)
        more = "" if all(part.jobs < _WAITING_COUNTED for part in parts) else " or more"
        count = f"{jobs:,} job{'' if jobs == 1 else 's'}{more}"
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
                f"the oldest has waited {oldest / 60:,.0f} min; {elsewhere}",
                f"awa worker MODULE:CLIENT --queue {name}",
                queue,
            )


def kinds(waiting: list[Waiting], fleet: Fleet) -> Iterator[Finding]:
    """Find kinds with jobs in a worked queue that no worker has a handler for."""
    worked = _worked(fleet)
    known = {kind.name for kind in fleet.kinds}
    for part in waiting:
        if part.kind in known or part.paused or part.queue not in worked:
            continue
        yield Finding(
            "kinds",
            Severity.error,
            f"no worker has a handler for the kind {part.kind}, and "
            f"{_jobs(part.jobs, _WAITING_COUNTED)} wait{'s' if part.jobs == 1 else ''} "
            f"in the queue {part.queue}",
            "the handler was renamed or is not deployed; workers of awa 0.5 fail such jobs "
            "permanently",
            f"awa kind show {shlex.quote(part.kind)}",
            part.kind,
        )


def _worked(fleet: Fleet) -> set[str]:
    return {given["queue"] for worker in fleet.live for given in worker.queues}


def failing(found: list[Failing], incidents: Incidents) -> Iterator[Finding]:
    """Find kinds whose attempts nearly all fail: as counted, or as the newest rows say."""
    counted = {one.kind for one in incidents.failing}
    for one in incidents.failing:
        error = (one.error_type or "").rpartition(".")[2]
        words = ": ".join(part for part in (error, one.message) if part)
        name = shlex.quote(one.kind)
        yield Finding(
            "failing",
            Severity.error,
            f"{one.failed:,} of {one.attempts:,} attempts of the kind {one.kind} have failed "
            f"since {one.since:%H:%M} UTC",
            f"most often: {words}" if words else None,
            f"awa failure show {one.failure}" if words else f"awa failure list --kind {name}",
            one.kind,
        )
    # Workers of awa 0.5 count no ends.
    for row in found:
        if row.kind in counted:
            continue
        name = shlex.quote(row.kind)
        yield Finding(
            "failing",
            Severity.warning,
            f"{row.failed:,} of the last {row.attempts:,} attempts of the kind {row.kind} failed",
            f"most often: {row.error}" if row.error else None,
            f"awa job list --kind {name} --state failed,retryable -o wide",
            row.kind,
        )


def bulk_operations(found: list[OpenBulkOperation]) -> Iterator[Finding]:
    """Find bulk operations that are stuck or have failed."""
    for row in found:
        done = f"{row.processed:,} of {row.total_matched:,} jobs"
        what = f"the bulk operation {row.id} ({row.operation})"
        if row.state == "failed":
            yield Finding(
                "batches",
                Severity.note,
                f"{what} failed after {done}",
                row.last_error or "the remaining jobs are unchanged",
                f"awa batch show {row.id}",
                row.id,
            )
            continue
        running = f"has run for {row.seconds / 3600:.0f} h and processed {done}"
        pending = f"has not started in {row.seconds / 60:.0f} min"
        yield Finding(
            "batches",
            Severity.warning,
            f"{what} {running if row.state == 'running' else pending}",
            row.last_error or "the leader runs it: there is no leader, or it is busy",
            f"awa batch run {row.id}",
            row.id,
        )


def workflows(found: list[WaitingWorkflow]) -> Iterator[Finding]:
    """Find workflows that go on only when someone retries a task or sends a signal."""
    for row in found:
        what = f"the workflow {row.id} ({row.name}) has waited for {row.seconds / 3600:.0f} h"
        if row.blocked:
            tasks = f"{row.blocked:,} task{' waits' if row.blocked == 1 else 's wait'}"
            yield Finding(
                "workflows",
                Severity.warning,
                f"{what} for a retry",
                f"{tasks} for the retry of a task that failed (on_parent_failure='wait')",
                f"awa workflow retry {row.id}",
                f"workflow {row.id}",
            )
        elif row.signals:
            names = ", ".join(row.signals)
            yield Finding(
                "workflows",
                Severity.note,
                f"{what} for a signal",
                f"not sent: {names}",
                f"awa workflow signal {row.id} {shlex.quote(row.signals[0])}",
                f"workflow {row.id}",
            )
