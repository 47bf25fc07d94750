"""The history checker: a true history passes, and each kind of forged violation is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from history import Entry, History, Row, keep, problems, read

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import claims, maintenance

HOT, COLD, DEAD = "jobs_hot", "scheduled_jobs", "dead_letters"
RESCUED = "heartbeat stale: worker presumed dead"
KEY = b"key"
FIRE = "daily 2026-01-01T00:00:00+00:00"


def entry(old: str | None, new: str | None, lease: int = 0, /, **given: Any) -> Entry:
    """Return a change of job 1 in the table of its state."""
    place = given.pop("place", None)
    if place is None:
        place = COLD if (new or old) in ("scheduled", "retryable") else HOT
    return Entry(
        **{"place": place, "id": 1, "queue": "q", "old": old, "new": new, "lease": lease,
           "attempt": 1, **given}
    )  # fmt: skip


def moved(old: str, new: str, lease: int, /, **given: Any) -> list[Entry]:
    """Return a change of job 1 from a table to the other."""
    return [entry(old, None, lease), entry(None, new, lease, **given)]


def line(what: str, lease: int = 0, t: float = 0.0, **given: Any) -> dict[str, Any]:
    return {"what": what, "id": 1, "lease": lease, "t": t, **given}


def true_history() -> History:
    """A job that is rescued while its worker lives, and completes; one that becomes a dead letter."""
    log = [
        entry(None, "available", taken=KEY, fire=FIRE),
        entry("available", "running", 11, released=KEY, taken=KEY),
        *moved("running", "retryable", 11, error=RESCUED, taken=KEY),
        *moved("retryable", "available", 11, taken=KEY),
        entry("available", "running", 12, released=KEY, taken=KEY),
        entry("running", "completed", 12, released=KEY),
        entry(None, "scheduled", id=2, taken=KEY),
        entry("scheduled", None, id=2, released=KEY),
        entry(None, "available", id=2, taken=KEY),
        entry("available", "running", 13, id=2, released=KEY, taken=KEY),
        entry("running", "failed", 13, id=2, released=KEY, error="no"),
        entry("failed", None, 13, id=2),
        entry(None, "failed", 13, id=2, place=DEAD),
        entry(None, "available", id=3),
        entry("available", "cancelled", id=3),
        entry("cancelled", None, id=3),
    ]
    ledger = [
        line("inserted"),
        line("start", 11, 1.0),
        line("start", 12, 2.0),
        line("end", 12, 3.0, promise="completed"),
        line("end", 11, 4.0, promise="completed"),
        {**line("start", 13, 5.0), "id": 2},
        {**line("end", 13, 6.0, promise="failed"), "id": 2},
        {**line("asked", **{"for": "cancel"}), "id": 3},
    ]
    rows = [Row(1, HOT, "completed", 12), Row(2, DEAD, "failed", 13)]
    return History(log, rows, ledger, limits={"q": 2}, key_limits={"q": 1})


def test_a_true_history_passes() -> None:
    assert problems(true_history()) == []


def test_a_job_may_be_left_to_an_idle_process_before_it_begins() -> None:
    history = true_history()
    handed_back(history)
    history.ledger.pop()

    assert problems(history) == []


def handed_back(h: History) -> None:
    h.log += [
        *_running(4, 14),
        entry("running", None, 14, id=4),
        entry(None, "scheduled", 14, id=4, attempt=0),
    ]
    h.ledger.append({**line("start", 14, 7.0), "id": 4})
    _left(h, Row(4, COLD, "scheduled", 14))


def _running(job_id: int, lease: int, **given: Any) -> list[Entry]:
    return [
        entry(None, "available", id=job_id),
        entry("available", "running", lease, id=job_id, **given),
    ]


def _left(history: History, *rows: Row) -> None:
    history.rows.extend(rows)


def lost(h: History) -> None:
    h.rows.pop(0)


def never_existed(h: History) -> None:
    h.ledger.append({**line("inserted"), "id": 99})


def in_two_tables(h: History) -> None:
    _left(h, Row(1, COLD, "retryable", 12))


def in_the_wrong_table(h: History) -> None:
    h.rows[0] = Row(1, COLD, "completed", 12)


def changed_without_a_trace(h: History) -> None:
    h.rows[0] = Row(1, HOT, "failed", 12)


def deleted_while_available(h: History) -> None:
    h.log += [entry(None, "available", id=4), entry("available", None, id=4)]


def deleted_though_nothing_cleans(h: History) -> None:
    h.cleans = False


def completed_and_retried(h: History) -> None:
    h.log.append(entry("completed", "available", 12))
    h.rows[0] = Row(1, HOT, "available", 12)


def completed_while_it_waits(h: History) -> None:
    h.log += [
        *_running(4, 14),
        entry("running", "waiting_external", 14, id=4),
        entry("waiting_external", "completed", 14, id=4),
    ]
    _left(h, Row(4, HOT, "completed", 14))


def a_broken_chain(h: History) -> None:
    h.log.append(entry("running", "completed", 12))


def a_copy_in_the_other_table(h: History) -> None:
    h.log += [entry(None, "retryable", 12)]


def ended_by_a_stale_lease(h: History) -> None:
    h.log[7] = h.log[7]._replace(lease=11)


def claimed_twice_under_one_lease(h: History) -> None:
    h.log += [
        entry("completed", "available", 12),
        entry("available", "running", 12),
        entry("running", "completed", 12),
    ]


def runs_without_a_claim(h: History) -> None:
    h.log += [entry("completed", "running", 12), entry("running", "completed", 12)]


def not_what_the_handler_said(h: History) -> None:
    h.ledger[3]["promise"] = "failed"


def completed_without_a_handler(h: History) -> None:
    del h.ledger[3]


def cancelled_unasked(h: History) -> None:
    h.log += [*_running(4, 14), entry("running", "cancelled", 14, id=4)]
    _left(h, Row(4, HOT, "cancelled", 14))


def overlapping_without_a_rescue(h: History) -> None:
    h.log[3] = h.log[3]._replace(error="ValueError")
    h.ledger[4]["promise"] = "failed"


def started_twice(h: History) -> None:
    h.ledger.append(line("start", 12, 2.5))


def two_holders_of_a_key(h: History) -> None:
    h.log.insert(2, entry(None, "available", id=4, taken=KEY))
    _left(h, Row(4, HOT, "available", 0))


def beyond_the_limit(h: History) -> None:
    for job_id in (4, 5, 6):
        h.log += _running(job_id, 10 + job_id)
        _left(h, Row(job_id, HOT, "running", 10 + job_id))


def beyond_the_limit_of_a_key(h: History) -> None:
    for job_id in (4, 5):
        h.log += _running(job_id, 10 + job_id, limit_key="k")
        _left(h, Row(job_id, HOT, "running", 10 + job_id))


def too_many_handlers(h: History) -> None:
    h.limits["q"] = 1
    h.ledger[5]["t"] = 2.5


def fired_twice(h: History) -> None:
    h.log.append(entry(None, "available", id=4, fire=FIRE))
    _left(h, Row(4, HOT, "available", 0))


FORGED: dict[Callable[[History], None], str] = {
    lost: "job 1 is gone",
    never_existed: "job 99 was acknowledged and never existed",
    in_two_tables: "job 1 is in two tables",
    in_the_wrong_table: "in the wrong table",
    changed_without_a_trace: "was last changed by",
    deleted_while_available: "job 4 was deleted while it was available",
    deleted_though_nothing_cleans: "job 3 was deleted while it was cancelled",
    completed_and_retried: "job 1 was completed and became available",
    completed_while_it_waits: "job 4 became completed under 14; its handler said None",
    a_broken_chain: "changed it",
    a_copy_in_the_other_table: "changed it",
    ended_by_a_stale_lease: "job 1: lease 11 ended the attempt of 12",
    claimed_twice_under_one_lease: "job 1 was claimed twice under lease 12",
    runs_without_a_claim: "job 1 runs after completed",
    not_what_the_handler_said: "became completed under 12; its handler said failed",
    completed_without_a_handler: "became completed under 12; its handler said None",
    handed_back: "job 4 became scheduled under 14; its handler said None",
    cancelled_unasked: "job 4 became cancelled under 14",
    overlapping_without_a_rescue: "two handlers have job 1 at a time: 11 and 12",
    started_twice: "started twice: (1, 12)",
    two_holders_of_a_key: "jobs 1 and 4 hold one unique key",
    beyond_the_limit: "3 jobs of q run, 2 may",
    beyond_the_limit_of_a_key: "2 jobs of q with key k run, 1 may",
    too_many_handlers: "2 handlers of q ran at a time",
    fired_twice: "was fired as",
}


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_a_forged_violation_is_found(forge: Callable[[History], None]) -> None:
    history = true_history()
    forge(history)

    assert any(FORGED[forge] in problem for problem in problems(history)), problems(history)


def test_the_log_of_a_database_is_a_true_history(database_url: str) -> None:
    """What the triggers write is what the checker reads; a row changed by hand is found."""
    with psycopg.connect(database_url, autocommit=True) as conn:
        keep(conn)
        client = awa.Client.on(conn)
        options = {"by_args": True}
        jobs = [client.insert({"n": n}, kind="k", unique_opts=options) for n in range(4)]
        late = client.insert({"n": 9}, kind="k", unique_opts=options, run_at="2999-01-01T00:00:00Z")
        ledger = [{"what": "inserted", "id": job.id} for job in [*jobs, late]]
        run(conn, claims.claim("default", ["k"], 3, None, lease=7))
        client.cancel(jobs[0].id)
        ledger.append({"what": "asked", "id": jobs[0].id, "for": "cancel"})
        conn.execute("UPDATE awa.jobs_hot SET heartbeat_at = now() - interval '1 hour'")
        pulse = maintenance.Pulse(20, 60)
        found = run(conn, maintenance.stale_ids(pulse))
        run(conn, maintenance.rescue(sorted(found), "heartbeat", pulse))
        run(conn, maintenance.promote("promote_retryable"))
        client.retry(jobs[0].id)
        client.discard(client.cancel(late.id).id)
        true = problems(read(conn, ledger))
        conn.execute("ALTER TABLE awa.jobs_hot DISABLE TRIGGER zz_history_update")
        conn.execute("UPDATE awa.jobs_hot SET state = 'completed' WHERE id = %s", [jobs[1].id])
        false = problems(read(conn, ledger))

    assert true == []
    assert len(false) == 1
    assert f"id={jobs[1].id}" in false[0]
