"""What callbacks and their answers must do to the reference model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fix_model import JOURNAL, NO_CALLBACK, NO_LEASE, NOW, Change, Job, Missing, Near, Wait


def _journal(job: Job) -> list[dict[str, Any]]:
    return [dict(entry) for entry in job.metadata.get("_awa_callbacks", [])]


def register(change: Change, job_id: int, lease: int, callback_id: str, seconds: float) -> bool:
    job = change.owned(job_id, lease)
    if job is None:
        return False
    journal = _journal(job)
    if _unjournaled(job) and journal and "result" not in journal[-1]:
        journal[-1]["result"] = job.metadata["_awa_callback_result"]
    mine = [at for at, entry in enumerate(journal) if entry["id"] == callback_id]
    if any("result" in journal[at] for at in mine):
        metadata = job.without("_awa_reenter") | {"_awa_callbacks": journal}
        change.put(replace(job, metadata=metadata))
        return True
    if mine:
        journal = [e for at, e in enumerate(journal) if at <= max(mine) or "result" in e]
    else:
        journal.append({"id": callback_id})
    metadata = job.without(*JOURNAL) | {"_awa_callbacks": journal}
    timeout = Near(seconds, seconds)
    change.put(
        replace(job, callback_id=callback_id, callback_timeout_at=timeout, metadata=metadata)
    )
    return True


def _unjournaled(job: Job) -> bool:
    return job.callback_id is None and "_awa_callback_result" in job.metadata


def _of_attempt(
    change: Change, job_id: int, lease: int, states: Sequence[str], callback_id: str | None = None
) -> Job | None:
    job = change.job(job_id)
    if job is None or job.lease != lease or job.state not in states:
        return None
    return job if callback_id in (None, job.callback_id) else None


def cancel_callback(change: Change, job_id: int, lease: int, callback_id: str) -> bool:
    job = _of_attempt(change, job_id, lease, ["running"], callback_id)
    if job is not None:
        change.put(replace(job, **NO_CALLBACK))
    return job is not None


def enter_wait(change: Change, job_id: int, lease: int, callback_id: str, noted: Any) -> bool:
    job = _of_attempt(change, job_id, lease, ["running", "waiting_external"], callback_id)
    if job is not None:
        change.put(replace(job, state="waiting_external", progress=noted, **NO_LEASE))
    return job is not None


def leave_wait(
    change: Change, job_id: int, lease: int, callback_id: str, deadline: float | None
) -> bool:
    job = _of_attempt(change, job_id, lease, ["waiting_external"], callback_id)
    job = job or _of_attempt(change, job_id, lease, ["running"])
    if job is not None:
        end = None if deadline is None else Near(deadline, deadline)
        change.put(replace(job, state="running", heartbeat_at=NOW, deadline_at=end))
    return job is not None


def abandon_wait(change: Change, job_id: int, lease: int) -> bool:
    job = _of_attempt(change, job_id, lease, ["running", "waiting_external"])
    if job is None:
        return False
    if job.state == "running":
        given: dict[str, Any] = {"state": "available", "attempt": max(job.attempt - 1, 0)}
    else:
        given = {"metadata": {**job.metadata, "_awa_reenter": True}}
    change.put(replace(job, **given, **NO_LEASE))
    return True


def take_answer(
    change: Change, job_id: int, lease: int, callback_id: str, deadline: float | None
) -> Any:
    """Return the answer in a list, or None."""
    job = change.owned(job_id, lease)
    if job is None or job.callback_id == callback_id:
        return None
    if not change.free(job):
        raise Wait(job)
    journal = _journal(job)
    mine = [entry for entry in journal if entry["id"] == callback_id]
    kept = [entry["result"] for entry in mine if "result" in entry]
    pending = []
    if _unjournaled(job):
        found = job.metadata["_awa_callback_result"]
        others = [entry for entry in journal if entry["id"] != callback_id]
        if not journal or "result" in journal[-1]:
            own = not journal or all(e.get("result", job) != found for e in others)
        else:
            own = journal[-1]["id"] == callback_id
        pending = [found] if own else []
    if not kept and not pending:
        return None
    answer = (kept or pending)[0]
    for entry in mine:
        entry["result"] = answer
    metadata = dict(job.metadata)
    if not kept or kept == pending:
        metadata.pop("_awa_callback_result", None)
    end = None if deadline is None else Near(deadline, deadline)
    metadata["_awa_callbacks"] = journal
    change.put(replace(job, heartbeat_at=NOW, deadline_at=end, metadata=metadata))
    return [answer]


def answer(change: Change, verb: str, callback_id: str, payload: Any) -> int:
    """Answer a callback from outside; return the job's id."""
    states = ["waiting_external"]
    if verb in ("complete", "fail", "resume"):
        states += ["running", "available"]
    found = [j for j in change.jobs() if j.callback_id == callback_id and j.state in states]
    if not found:
        raise Missing(callback_id)
    job = found[0]
    plain = {**NO_CALLBACK, **NO_LEASE}
    if verb == "complete":
        metadata = job.without("_awa_reenter") | {"_awa_callback_result": payload}
        job = replace(
            job, state="completed", finalized_at=NOW, progress=None, metadata=metadata, **plain
        )
    elif verb == "fail":
        errors = job.fail("no")
        metadata = job.without("_awa_reenter", "_awa_callbacks")
        job = replace(
            job, state="failed", finalized_at=NOW, errors=errors, metadata=metadata, **plain
        )
    elif verb == "retry":
        metadata = job.without(*JOURNAL, "_awa_crashes")
        job = replace(
            job,
            state="available", attempt=0, run_at=NOW, finalized_at=None, metadata=metadata, **plain,
        )  # fmt: skip
    elif verb == "heartbeat":
        job = replace(job, callback_timeout_at=Near(payload, payload))
    else:
        job = _resumed(job, callback_id, payload)
    change.put(job)
    return job.id


def _resumed(job: Job, callback_id: str, payload: Any) -> Job:
    again = job.state == "waiting_external" and "_awa_reenter" in job.metadata
    metadata = job.without("_awa_reenter") | {"_awa_callback_result": payload}
    if "_awa_callbacks" in job.metadata:
        metadata["_awa_callbacks"] = [
            {**entry, "result": payload} if entry["id"] == callback_id else entry
            for entry in _journal(job)
        ]
    given: dict[str, Any] = {"metadata": metadata, **NO_CALLBACK}
    if again:
        given |= {"state": "available", "attempt": max(job.attempt - 1, 0), "run_at": NOW}
    elif job.state != "available":
        given["state"] = "running"
    given["heartbeat_at"] = None if again or job.state == "available" else NOW
    return replace(job, **given)
