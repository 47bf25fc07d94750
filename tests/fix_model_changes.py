"""What operators, bulk operations and the fleet's leader must do to the reference model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from fix_model import (
    COLD,
    ENDED,
    JOURNAL,
    NO_CALLBACK,
    NO_LEASE,
    NOW,
    About,
    Bulk,
    Change,
    Job,
    Missing,
    Near,
    Refused,
    Taken,
    Wait,
)
from fix_model_attempts import backoff

CAN = {
    "retry": ("failed", "cancelled", "waiting_external", "retryable"),
    "cancel": ("scheduled", "available", "running", "retryable", "waiting_external"),
    "delete": ENDED,
    "set_priority": ("scheduled", "available", "retryable"),
    "move_queue": ("scheduled", "available", "retryable"),
}

# -- operators -------------------------------------------------------------------------------


def insert(
    change: Change, job: Job, on_conflict: str = "raise", longest: float | None = None
) -> int | None:
    """Insert a job; return the id of who has the key, or None when it is left out."""
    try:
        change.put(job)
    except Taken:
        if on_conflict == "raise":
            raise
        if on_conflict == "skip":
            return None
        holder = change.get(("job", change.get(("claim", job.unique))))
        if on_conflict == "replace":
            change.put(replaced(change, holder, job, longest))
        return int(holder.id)
    return job.id


def replaced(change: Change, holder: Job, new: Job, longest: float | None) -> Job:
    """Return a job that waits for a run with the args and the time of another."""
    if holder.state not in ("scheduled", "available", "retryable"):
        raise Taken(holder)
    run_at = new.run_at
    if longest is not None:
        assert isinstance(run_at, Near)
        assert isinstance(holder.created_at, datetime)
        last = holder.created_at + timedelta(seconds=longest)
        run_at = min(run_at, last, key=change.moment)
    if change.moment(run_at) > change.now:
        return replace(holder, args=new.args, state="scheduled", run_at=run_at)
    # A job that comes back from the table of waiting jobs gets the time of its return.
    late = run_at if holder.table == "hot" else NOW
    return replace(holder, args=new.args, state="available", run_at=late)


def retried(job: Job) -> Job:
    if job.state == "retryable":
        return replace(
            job, state="available", run_at=NOW, finalized_at=None, **NO_LEASE, **NO_CALLBACK
        )
    return replace(
        job,
        state="available", attempt=0, run_at=NOW, finalized_at=None, reason=None,
        metadata=job.without(*JOURNAL, "_awa_crashes"), **NO_LEASE, **NO_CALLBACK,
    )  # fmt: skip


def cancelled(job: Job) -> Job:
    lease = NO_LEASE if job.state in COLD else {}
    return replace(job, state="cancelled", finalized_at=NOW, **lease, **NO_CALLBACK)


def with_priority(job: Job, priority: int) -> Job:
    return replace(job, priority=priority, metadata=job.without("_awa_original_priority"))


def operate(change: Change, verb: str, job_id: int, value: Any = None) -> int:
    """Make an operator's change of a job."""
    job = change.job(job_id)
    if job is None:
        raise Missing(job_id)
    if job.state not in CAN[verb]:
        raise Refused(job.state)
    _apply(change, verb, job, value)
    return job_id


def _apply(change: Change, verb: str, job: Job, value: Any) -> None:
    if verb == "delete":
        change.delete([job])
    elif verb == "retry":
        change.put(retried(job))
    elif verb == "cancel":
        change.put(cancelled(job))
    elif verb == "set_priority":
        change.put(with_priority(job, value))
    else:
        change.put(replace(job, queue=value))


def drain(change: Change, queue: str) -> int:
    drained = [
        job
        for job in change.jobs()
        if job.queue == queue
        and job.state in ("available", "waiting_external", *COLD)
        and change.free(job)
    ]
    change.put(*[cancelled(job) for job in drained])
    return len(drained)


# -- dead letters ----------------------------------------------------------------------------


def bury(change: Change, job: Job, reason: str | About | None) -> None:
    first = str(job.errors[-1]["error"]).split("\n")[0] if job.errors else "failed"
    change.put(replace(job, reason=reason or first))


def move_to_dead(change: Change, job_id: int) -> None:
    job = change.job(job_id)
    if job is None:
        raise Missing(job_id)
    if job.state != "failed" or not change.free(job):
        raise Refused(job.state)
    bury(change, job, "moved by hand")


def dead(change: Change, job_id: int) -> Job:
    job = change.get(("job", job_id))
    if job is None or job.reason is None or not change.free(job):
        raise Missing(job_id)
    return job


def revive(change: Change, job_id: int) -> int:
    change.put(retried(replace(dead(change, job_id), reason=None)))
    return job_id


def purge(change: Change, job_id: int) -> None:
    change.delete([dead(change, job_id)])


def move_failed(change: Change) -> int:
    queues = [q for q, policy in change.all("policy").items() if policy["dead_letters"]]
    failed = [j for j in change.jobs() if j.state == "failed" and j.queue in queues]
    moved = [job for job in failed if change.free(job)]
    for job in moved:
        bury(change, job, None)
    return len(moved)


# -- bulk operations -------------------------------------------------------------------------


def matches(job: Job, bulk: Bulk) -> bool:
    where = bulk.filter
    return (
        job.state in CAN[bulk.operation]
        and where.get("kind") in (None, job.kind)
        and where.get("queue") in (None, job.queue)
        and where.get("state") in (None, job.state)
    )


def submit(change: Change, bulk: Bulk) -> Bulk:
    found = [job.id for job in change.jobs() if matches(job, bulk)]
    bulk = replace(bulk, total_matched=len(found), last_id=max(found, default=0))
    change.set(("bulk", bulk.id), bulk)
    return bulk


def cancel_bulk(change: Change, bulk_id: str) -> None:
    bulk: Bulk | None = change.get(("bulk", bulk_id))
    if bulk is None:
        raise Missing(bulk_id)
    if bulk.state not in ("pending", "running"):
        raise Refused(bulk.state)
    change.set(("bulk", bulk_id), replace(bulk, state="cancelled"))


def step(change: Change, bulk_id: str) -> None:
    """Do a batch: there are never more jobs than one takes."""
    bulk: Bulk = change.get(("bulk", bulk_id))
    first = bulk.cursor < bulk.last_id
    if first:
        page = [
            job.id
            for job in change.jobs()
            if bulk.cursor < job.id <= bulk.last_id and matches(job, bulk)
        ]
    else:
        page = list(bulk.deferred)
    seen = [change.job(job_id) for job_id in page]
    locked = [job for job in seen if job is not None and change.free(job)]
    missed = [job_id for job_id in page if job_id not in {job.id for job in locked}]
    matching = [job for job in locked if matches(job, bulk)]
    done = errored = 0
    blocked: list[int] = []
    for job in matching:
        value = next(iter(bulk.spec.values()), None)
        try:
            _apply(change, bulk.operation, job, value)
        except Wait:
            blocked.append(job.id)
        except Taken:
            errored += 1
        else:
            done += 1
    skipped = len(locked) - len(matching) + (0 if first else len(missed))
    again = sorted([*blocked, *missed]) if first else blocked
    stuck = not first and bool(again) and not done
    change.set(
        ("bulk", bulk_id),
        replace(
            bulk,
            cursor=bulk.last_id,
            deferred=tuple(again),
            state="running" if again else "completed",
            processed=bulk.processed + done,
            skipped=bulk.skipped + skipped,
            errored=bulk.errored + errored,
            failures=bulk.failures + 1 if stuck else 0,
        ),
    )


# -- the leader ------------------------------------------------------------------------------


def age(change: Change, threshold: float) -> int:
    limit = change.now - timedelta(seconds=threshold)
    old = [
        job
        for job in change.jobs()
        if job.state == "available"
        and job.priority > 1
        and job.run_at <= limit
        and change.free(job)
    ]
    for job in old:
        metadata = {"_awa_original_priority": job.priority, **job.metadata}
        change.put(replace(job, priority=job.priority - 1, metadata=metadata))
    return len(old)


def is_old(change: Change, job: Job, states: Sequence[str], seconds: float) -> bool:
    policy = change.get(("policy", job.queue)) or {}
    if job.state == "failed" and policy.get("dead_letters"):
        return False
    limit = change.now - timedelta(seconds=seconds)
    return job.state in states and job.finalized_at is not None and job.finalized_at < limit


def delete_old(change: Change, ended: str, seconds: float, queue: str | None) -> int:
    states = ("completed",) if ended == "completed" else ("failed", "cancelled")
    old = [
        job
        for job in change.jobs()
        if is_old(change, job, states, seconds) and queue in (None, job.queue) and change.free(job)
    ]
    change.delete(old)
    return len(old)


def promoted(job: Job) -> Job:
    return replace(job, state="available", run_at=NOW, **NO_LEASE, **NO_CALLBACK)


def parked(job: Job, holder: int) -> Job:
    reason = f"cannot be made available: another live job holds the same unique key: job {holder}"
    known = job.errors and job.errors[-1]["error"] == reason
    return replace(job, run_at=Near(60, 60), errors=job.errors if known else job.fail(reason))


REASONS = {
    "heartbeat": "heartbeat stale: worker presumed dead",
    "deadline": "hard deadline exceeded",
    "callback": "callback timed out",
}


def lost(change: Change, job: Job, cause: str, staleness: float) -> bool:
    """Return whether a job must be taken from its attempt."""
    if cause == "heartbeat":
        limit = change.now - timedelta(seconds=staleness)
        return job.state == "running" and job.heartbeat_at is not None and job.heartbeat_at < limit
    state, at = {
        "deadline": ("running", job.deadline_at),
        "callback": ("waiting_external", job.callback_timeout_at),
    }[cause]
    return job.state == state and at is not None and at < change.now


def rescued(job: Job, cause: str, conflict: bool = False) -> Job:
    """Return a job after it was taken from its attempt."""
    crashes = job.metadata.get("_awa_crashes", 0) + 1 if cause == "heartbeat" else None
    if crashes is None:
        spent, more, metadata = job.attempt >= job.max_attempts, {}, job.metadata
    else:
        spent, more = crashes >= min(job.max_attempts, 5), {"crash": crashes}
        metadata = {**job.metadata, "_awa_crashes": crashes}
    text: str | About = REASONS[cause]
    if conflict:
        text = About((f"{REASONS[cause]}; no retry: another live job holds the same unique key",))
    elif spent and crashes is not None and crashes > 1:
        text = f"{text}; its worker died {crashes} times while it ran"
    after = replace(
        job, finalized_at=NOW, errors=job.fail(text, **more), metadata=metadata, **NO_LEASE,
        **NO_CALLBACK,
    )  # fmt: skip
    if spent or conflict:
        return replace(after, state="failed")
    if crashes is not None:
        return replace(after, state="retryable", attempt=max(job.attempt - 1, 0))
    return replace(
        after, state="retryable", run_at=backoff(job.attempt), metadata=job.without(*JOURNAL)
    )
