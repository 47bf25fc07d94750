"""What claims and the ends of attempts must do to the reference model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from fix_model import (
    JOURNAL,
    NO_LEASE,
    NOW,
    About,
    Change,
    Job,
    Near,
    Taken,
    Wait,
)

Lease = tuple[int, int]
DAY = 86_400.0


def backoff(attempt: int) -> Near:
    """Return when an attempt is made again by default."""
    seconds = min(2.0**attempt, DAY)
    return Near(seconds, min(seconds * 1.25, DAY))


# -- claims ----------------------------------------------------------------------------------


def in_order(jobs: list[Job]) -> list[Job]:
    return sorted(jobs, key=lambda job: (job.priority, job.run_at, job.id))


def candidates(
    change: Change, queue: str, kinds: Sequence[str], passing: Sequence[int] = ()
) -> list[Job]:
    """Return the jobs that may be claimed if nobody has locked them, in run order."""
    if change.get(("paused", queue)):
        return []
    return in_order(
        [
            job
            for job in change.jobs()
            if (job.state, job.queue) == ("available", queue)
            and job.kind in kinds
            and change.due(job.run_at)
            and job.id not in passing
        ]
    )


@dataclass(frozen=True)
class Limits:
    """The limits of a queue, and from which id on running jobs are counted."""

    most: int | None
    per_key: int | None
    count_from: int = 0


def limits_of(change: Change, queue: str) -> Limits | None:
    policy = change.get(("policy", queue))
    if policy is None or policy["max_running"] is policy["max_running_per_key"] is None:
        return None
    return Limits(policy["max_running"], policy["max_running_per_key"])


def chosen(
    change: Change,
    queue: str,
    kinds: Sequence[str],
    limit: int,
    limits: Limits | None,
    passing: Sequence[int] = (),
) -> list[Job]:
    """Return the jobs that a claim takes, in run order."""
    found = candidates(change, queue, kinds, passing)
    if limits is None:
        return [job for job in found if change.free(job)][:limit]
    change.set(("policy", queue), change.get(("policy", queue)))
    running = [
        job
        for job in change.jobs()
        if (job.state, job.queue) == ("running", queue) and job.id >= limits.count_from
    ]
    room = limit if limits.most is None else max(0, min(limit, limits.most - len(running)))
    busy = Counter(job.limit_key for job in running)
    # A locked job of the head takes a place of its key at first, and gives it up then.
    head = _within(found, busy, limits.per_key)
    taken = [job for job in head if change.free(job)][:room]
    if len(taken) < min(len(head), room):
        busy += Counter(job.limit_key for job in taken)
        behind = [job for job in found if change.free(job) and job not in taken]
        taken += _within(behind, busy, limits.per_key)[: room - len(taken)]
    return in_order(taken)


def _within(jobs: list[Job], busy: Counter[str | None], per_key: int | None) -> list[Job]:
    places: Counter[str | None] = Counter()
    allowed = []
    for job in jobs:
        places[job.limit_key] += 1
        if per_key is None or job.limit_key is None:
            allowed.append(job)
        elif places[job.limit_key] <= per_key - busy[job.limit_key]:
            allowed.append(job)
    return allowed


def _claimed(job: Job, lease: int, deadline: float | None) -> Job:
    return replace(
        job,
        state="running",
        attempt=job.attempt + 1,
        lease=lease,
        attempted_at=NOW,
        heartbeat_at=NOW,
        deadline_at=None if deadline is None else Near(deadline, deadline),
    )


def claim(
    change: Change,
    queue: str,
    kinds: Sequence[str],
    limit: int,
    deadline: float | None,
    lease: int,
    limits: Limits | None,
    first: str = "rows",
) -> list[int]:
    taken = chosen(change, queue, kinds, limit, limits)
    change.put(*[_claimed(job, lease, deadline) for job in taken], first=first)
    return [job.id for job in taken]


def claim_each(
    change: Change,
    queue: str,
    kinds: Sequence[str],
    limit: int,
    deadline: float | None,
    lease: int,
    limits: Limits | None,
) -> tuple[list[int], list[int]]:
    """Claim one by one; return who was claimed, and who could not be."""
    rows: list[int] = []
    errors: list[int] = []
    tried: list[int] = []
    while len(rows) < limit:
        found = chosen(change, queue, kinds, limit - len(rows), limits, tried)
        if not found:
            break
        for job in found:
            tried.append(job.id)
            if limits is not None:
                others = [i.id for i in change.jobs() if i.id != job.id]
                if not chosen(change, queue, kinds, 1, limits, others):
                    continue
            try:
                change.put(_claimed(job, lease, deadline))
            except (Wait, Taken):
                errors.append(job.id)
            else:
                rows.append(job.id)
    return rows, errors


def hand_back(change: Change, queue: str, lease: int, keep: Sequence[int]) -> list[int]:
    held = [
        job
        for job in change.jobs()
        if (job.state, job.queue, job.lease) == ("running", queue, lease)
        and job.id not in keep
        and change.free(job)
    ]
    change.put(
        *[
            replace(job, state="available", attempt=max(job.attempt - 1, 0), **NO_LEASE)
            for job in held
        ]
    )
    return [job.id for job in held]


# -- attempts --------------------------------------------------------------------------------


def _still_owned(
    change: Change, leases: Sequence[Lease], *, skip: bool
) -> tuple[list[Job], tuple[list[int], list[int]]]:
    """Return the jobs to change, and the stale and the busy ids."""
    found = {job_id: change.owned(job_id, lease) for job_id, lease in leases}
    owned = [job for job in found.values() if job is not None]
    busy = [job for job in owned if not change.free(job)]
    if busy and not skip:
        raise Wait(busy)
    stale = [job_id for job_id, job in found.items() if job is None]
    return [job for job in owned if job not in busy], (stale, [job.id for job in busy])


def heartbeat(
    change: Change, leases: Sequence[Lease], *, skip: bool
) -> tuple[list[int], list[int]]:
    jobs, missed = _still_owned(change, leases, skip=skip)
    change.put(*[replace(job, heartbeat_at=NOW) for job in jobs])
    return missed


def write_progress(
    change: Change, leases: Sequence[Lease], progress: Sequence[Any], *, skip: bool
) -> tuple[list[int], list[int]]:
    jobs, missed = _still_owned(change, leases, skip=skip)
    values = dict(zip([job_id for job_id, _ in leases], progress, strict=True))
    change.put(*[replace(job, heartbeat_at=NOW, progress=values[job.id]) for job in jobs])
    return missed


@dataclass(frozen=True)
class Ended:
    """How a handler ended, in words, and the progress that it had noted."""

    job_id: int
    lease: int
    how: str
    noted: Any = None
    seconds: float = 0.0


def finish(
    change: Change, ends: Sequence[Ended], *, skip: bool, first: str = "rows"
) -> tuple[list[int], list[int]]:
    given = {end.job_id: end for end in ends}
    leases = [(end.job_id, end.lease) for end in ends]
    jobs, missed = _still_owned(change, leases, skip=skip)
    change.put(*[after(job, given[job.id]) for job in jobs], first=first)
    return missed


def finish_alone(change: Change, end: Ended) -> tuple[list[int], list[int]]:
    """End an attempt; its job fails when another job holds the key that its next state needs."""
    try:
        return finish(change, [end], skip=True)
    except Taken:
        failed = replace(end, how="conflict")
        return finish(change, [failed], skip=True)


def after(job: Job, end: Ended) -> Job:
    """Return a running job after its attempt has ended."""
    last = job.attempt >= job.max_attempts
    plain = {"metadata": job.without(*JOURNAL[::2]), "progress": end.noted, "finalized_at": NOW}
    if end.how == "complete":
        return replace(job, state="completed", finalized_at=NOW, progress=None)
    if end.how == "snooze":
        return _later(job, end, "scheduled", finalized_at=job.finalized_at)
    if end.how == "later" and not last:
        return _later(job, end, "retryable")
    if end.how == "error" and not last:
        return _later(job, end, "retryable", errors=job.fail(_TEXT, type=_TYPE))
    if end.how == "hand back":
        attempt = max(job.attempt - 1, 0)
        return replace(job, state="available", attempt=attempt, progress=end.noted, **NO_LEASE)
    if end.how == "cancel":
        return replace(job, state="cancelled", errors=job.fail("cancelled: why"), **plain)
    if end.how == "wait":
        return _waits(job, end, plain)
    failed = {
        "later": job.fail(f"RetryAfter on the last of {job.max_attempts} attempts"),
        "error": job.fail(_TEXT, type=_TYPE),
        "terminal": job.fail(_TEXT, type="awa_lib.errors.TerminalError", terminal=True),
        "conflict": job.fail(About(("the job ended, but another live job holds",))),
    }
    return replace(job, state="failed", errors=failed[end.how], **plain)


_TEXT = About(("broken",))
_TYPE = "builtins.ValueError"


def _later(job: Job, end: Ended, state: str, **given: Any) -> Job:
    delay = Near(end.seconds, end.seconds) if end.how != "error" else backoff(job.attempt)
    given = {"finalized_at": NOW, "metadata": job.without(*JOURNAL), **given}
    attempt = max(job.attempt - (end.how == "snooze"), 0)
    return replace(
        job, state=state, attempt=attempt, run_at=delay, progress=end.noted, **NO_LEASE, **given
    )


def _waits(job: Job, end: Ended, plain: dict[str, Any]) -> Job:
    if job.callback_id is not None:
        metadata = {**job.metadata, "_awa_reenter": True}
        return replace(
            job, state="waiting_external", metadata=metadata, progress=end.noted, **NO_LEASE
        )
    if "_awa_callback_result" in job.metadata:
        return replace(job, state="completed", finalized_at=NOW, progress=None)
    text = "WaitForCallback returned without calling register_callback"
    return replace(job, state="failed", errors=job.fail(text, terminal=True), **plain)
