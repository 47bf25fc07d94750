"""What the leader does to rows: guards, columns, and rows that cannot be changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from fix_leader import delete_finished, rescue_callbacks, rescue_deadline, rescue_stale
from fix_wait import eventually
from fix_worker import Rows

import awa_lib as awa
from awa_lib._sql import Op
from awa_lib.db.drive import run
from awa_lib.ops import claims
from awa_lib.ops import maintenance as ops
from awa_lib.ops.apart import Aside
from awa_lib.ops.leases import new_lease
from awa_lib.telemetry.failures import group_of_text

CALLBACK = "callback_id, callback_timeout_at, callback_filter, callback_on_complete"


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def put(rows: Rows) -> Callable[..., int]:
    """Insert a job as it might stand in the table; values are SQL."""

    def insert(**columns: str) -> int:
        columns = {"kind": "'k'", **columns}
        names, values = ", ".join(columns), ", ".join(columns.values())
        return rows.one(f"INSERT INTO awa.jobs ({names}) VALUES ({values}) RETURNING id")["id"]

    return insert


def now(rows: Rows) -> Any:
    return rows.one("SELECT now() AS now")["now"]


@pytest.mark.parametrize("state", ["scheduled", "retryable"])
def test_promotion_moves_due_jobs_and_keeps_their_history(
    conn, rows: Rows, put, state: str
) -> None:
    due = put(
        state=f"'{state}'", run_at="now() - interval '1 s'", attempt="2", run_lease="3",
        errors="ARRAY['{\"error\": \"x\", \"attempt\": 2, \"at\": \"t\"}'::jsonb]",
        progress="'{\"percent\": 4}'", metadata="'{\"a\": 1}'", priority="3", tags="'{t}'",
        finalized_at="now()", heartbeat_at="now()", deadline_at="now()",
        callback_id="gen_random_uuid()", callback_filter="'true'",
    )  # fmt: skip
    later = put(state=f"'{state}'", run_at="now() + interval '1 hour'")
    before = rows.job(due)

    promoted = run(conn, ops.promote(f"promote_{state}"))

    row = rows.job(due)
    changed = {key for key in row if row[key] != before[key]}
    assert promoted == 1
    assert row["state"] == "available"
    assert (now(rows) - row["run_at"]).total_seconds() < 5
    assert changed == {
        "state", "run_at", "heartbeat_at", "deadline_at", "callback_id", "callback_filter",
    }  # fmt: skip
    assert rows.job(later)["state"] == state


def test_promotion_wakes_workers_once_a_queue(conn, put, database_url: str) -> None:
    for _ in range(3):
        put(state="'scheduled'", run_at="now() - interval '1 s'", queue="'email'")
    with psycopg.connect(database_url, autocommit=True) as ears:
        ears.execute('LISTEN "awa:email"')
        run(conn, ops.promote("promote_scheduled"))
        heard = list(ears.notifies(timeout=5, stop_after=1))
        heard += list(ears.notifies(timeout=0.2))

    assert [n.channel for n in heard] == ["awa:email"]


def test_one_conflicting_row_does_not_stop_promotion(conn, rows: Rows, put) -> None:
    """Its key was taken while it waited: it is parked with the reason, the others run."""
    key = "'\\x01'::bytea"
    put(unique_key=key, unique_states="'01000000'")
    bad = put(
        state="'retryable'", run_at="now() - interval '1 s'", unique_key=key,
        unique_states="'01000000'",
    )  # fmt: skip
    good = [put(state="'retryable'", run_at="now() - interval '1 s'") for _ in range(5)]

    first = run(conn, ops.promote("promote_retryable"))
    again = run(conn, ops.promote("promote_retryable"))
    rows.conn.execute("UPDATE awa.scheduled_jobs SET run_at = now() - interval '1 s'")
    run(conn, ops.promote("promote_retryable"))

    row = rows.job(bad)
    assert (first, again) == (5, 0)
    assert {rows.job(i)["state"] for i in good} == {"available"}
    assert row["state"] == "retryable"
    assert 50 < (row["run_at"] - now(rows)).total_seconds() <= 60
    (entry,) = row["errors"]
    assert "unique key" in entry["error"]


def test_a_queue_name_too_long_for_a_channel_is_promoted_too(conn, rows: Rows, put) -> None:
    long = put(state="'scheduled'", run_at="now() - interval '1 s'", queue=f"'{'q' * 70}'")
    other = put(state="'scheduled'", run_at="now() - interval '1 s'")

    assert run(conn, ops.promote("promote_scheduled")) == 2
    assert {rows.job(i)["state"] for i in (long, other)} == {"available"}


@pytest.mark.parametrize("cause", ["heartbeat", "deadline", "callback"])
@pytest.mark.parametrize("attempt", [2, 3])
def test_rescue(conn, rows: Rows, put, cause: str, attempt: int) -> None:
    """With attempts left a job runs again, on its last one it ends failed; a crash spends none."""
    stale = {
        "heartbeat": {"state": "'running'", "heartbeat_at": "now() - interval '91 s'"},
        "deadline": {"state": "'running'", "heartbeat_at": "now()",
                     "deadline_at": "now() - interval '1 s'"},
        "callback": {"state": "'waiting_external'",
                     "callback_timeout_at": "now() - interval '1 s'"},
    }[cause]  # fmt: skip
    alive = {
        "heartbeat": {"state": "'running'", "heartbeat_at": "now() - interval '80 s'"},
        "deadline": {"state": "'running'", "heartbeat_at": "now()",
                     "deadline_at": "now() + interval '1 s'"},
        "callback": {"state": "'waiting_external'"},
    }[cause]  # fmt: skip
    common = {
        "attempt": str(attempt), "max_attempts": "3", "run_lease": "5",
        "progress": "'{\"percent\": 9}'", "callback_id": "gen_random_uuid()",
        "run_at": "now() - interval '1 min'", "attempted_at": "now()",
    }  # fmt: skip
    victim = put(**common, **stale)
    common["callback_id"] = "gen_random_uuid()"
    spared = put(**common, **alive)
    before, untouched = rows.job(victim), rows.job(spared)

    op = {
        "heartbeat": lambda: rescue_stale(90),
        "deadline": rescue_deadline,
        "callback": rescue_callbacks,
    }[cause]
    rescued = run(conn, op())

    crash = cause == "heartbeat"
    row, state = rows.job(victim), "retryable" if attempt < 3 or crash else "failed"
    assert rescued == [ops.Rescued(victim, "k", "default", 5, state, row["errors"][-1]["error"])]
    assert row["errors"][-1]["failure"] == group_of_text(rescued[0].error).id
    assert row["state"] == state
    assert row["finalized_at"] is not None
    assert row["heartbeat_at"] is row["deadline_at"] is row["callback_id"] is None
    assert row["callback_timeout_at"] is None
    assert (row["attempt"], row["run_lease"]) == (attempt - crash, 5)
    assert row["metadata"] == ({"_awa_crashes": 1} if crash else {})
    assert row["progress"] == {"percent": 9}
    (entry,) = row["errors"]
    assert (entry["attempt"], entry.get("crash")) == (attempt, 1 if crash else None)
    assert entry["at"].endswith("+00:00")
    assert (
        entry["error"]
        == {
            "heartbeat": "heartbeat stale: worker presumed dead",
            "deadline": "hard deadline exceeded",
            "callback": "callback timed out",
        }[cause]
    )
    delay = (row["run_at"] - row["finalized_at"]).total_seconds()
    if attempt == 3 or cause == "heartbeat":
        assert row["run_at"] == before["run_at"]
    else:
        assert 4 <= delay <= 5
    assert rows.job(spared) == untouched


AGAIN = {
    "heartbeat": {"state": "'running'", "heartbeat_at": "now()"},
    "deadline": {"state": "'running'", "heartbeat_at": "now() - interval '91 s'",
                 "deadline_at": "now() + interval '1 min'"},
    "callback": {"state": "'waiting_external'", "callback_id": "gen_random_uuid()",
                 "callback_timeout_at": "now() + interval '1 min'"},
}  # fmt: skip


@pytest.mark.parametrize("cause", AGAIN)
def test_a_rescue_tests_again_what_was_found(conn, rows: Rows, put, cause: str) -> None:
    """Between the look and the change the job was renewed, answered, or it ended."""
    over = "now() - interval '91 s'"
    late = {"heartbeat_at": over, "deadline_at": over, "callback_timeout_at": over}
    found = [
        put(**AGAIN[cause]),
        put(**late, state="'cancelled'"),
        put(**late, state="'running'" if cause == "callback" else "'waiting_external'"),
    ]
    before = [rows.job(job_id) for job_id in found]

    assert run(conn, ops.rescue(found, cause, ops.Pulse(30, 90))) == []
    assert [rows.job(job_id) for job_id in found] == before


def test_rescue_of_a_job_whose_key_was_taken_ends_it(conn, rows: Rows, put) -> None:
    """The retry cannot hold the key, so the job fails with the reason; the others are rescued."""
    key, mask = "'\\x02'::bytea", "'00001000'"
    put(state="'retryable'", run_at="now() + interval '1 hour'", unique_key=key, unique_states=mask)
    stale = {"state": "'running'", "heartbeat_at": "now() - interval '91 s'", "attempt": "1"}
    bad = put(**stale, unique_key=key, unique_states=mask)
    good = [put(**stale) for _ in range(3)]

    rescued = run(conn, rescue_stale(90))

    assert {r.id: r.state for r in rescued} == {bad: "failed"} | dict.fromkeys(good, "retryable")
    assert "unique key" in rows.job(bad)["errors"][0]["error"]


@pytest.mark.parametrize(("most", "bound"), [(1, 1), (2, 2), (5, 5), (25, 5)])
def test_a_job_fails_after_some_crashes_whatever_it_did_before(
    conn, rows: Rows, put, most: int, bound: int
) -> None:
    job = put(state="'running'", attempt="1", max_attempts=str(most), heartbeat_at="'2020-01-01'")
    seen = []
    for _ in range(bound):
        (rescued,) = run(conn, rescue_stale(90))
        seen.append((rescued.state, rows.job(job)["attempt"]))
        run(conn, ops.promote("promote_retryable"))
        rows.conn.execute(
            "UPDATE awa.jobs SET state = 'running', attempt = 1, heartbeat_at = '2020-01-01'"
            " WHERE state = 'available'"
        )

    row = rows.job(job)
    assert seen == [("retryable", 0)] * (bound - 1) + [("failed", 1)]
    assert [entry["crash"] for entry in row["errors"]] == list(range(1, bound + 1))
    assert row["metadata"] == {"_awa_crashes": bound}
    reason = f"; its worker died {bound} times while it ran" if bound > 1 else ""
    assert row["errors"][-1]["error"] == f"heartbeat stale: worker presumed dead{reason}"


@pytest.mark.parametrize("metadata", ["[]", '"x"', '{"_awa_crashes": "many"}', "null"])
def test_odd_metadata_stops_no_rescue(conn, rows: Rows, put, metadata: str) -> None:
    stale = {"state": "'running'", "heartbeat_at": "now() - interval '91 s'", "attempt": "1"}
    odd, good = put(**stale, metadata=f"'{metadata}'"), put(**stale)

    rescued = run(conn, rescue_stale(90))

    assert {r.id: r.state for r in rescued} == {odd: "retryable", good: "retryable"}
    assert rows.job(good)["metadata"] == {"_awa_crashes": 1}


@pytest.fixture
def key_taken(database_url: str) -> Iterator[Callable[..., psycopg.Connection]]:
    """Take unique keys in a transaction that stays open until it is rolled back."""
    with psycopg.connect(database_url) as producer:

        def take(state: str, mask: str, count: int = 1) -> psycopg.Connection:
            producer.execute(
                "INSERT INTO awa.jobs (kind, state, run_at, unique_key, unique_states)"
                " SELECT 'other', %s, now() + interval '1 hour', int8send(n), %s"
                " FROM generate_series(1, %s) AS n",
                [state, mask, count],
            )
            return producer

        yield take
        producer.rollback()


@pytest.fixture(params=["", "-c lock_timeout=300ms"])
def leader(database_url: str, request) -> Iterator[psycopg.Connection]:
    """The leader's session, with a limit for locks of its own and without."""
    with psycopg.connect(database_url, autocommit=True, options=request.param) as connection:
        yield connection


def test_an_open_transaction_on_a_key_stops_one_promotion_only(
    leader, rows: Rows, put, key_taken
) -> None:
    due = {"state": "'retryable'", "run_at": "now() - interval '1 s'"}
    blocked = put(**due, unique_key="int8send(1)", unique_states="'01100000'")
    good = [put(**due) for _ in range(20)]
    producer = key_taken("available", "01100000")
    before, aside = rows.job(blocked), Aside()

    assert run(leader, ops.promote("promote_retryable", aside=aside)) == 20
    assert {rows.job(i)["state"] for i in good} == {"available"}
    assert rows.job(blocked) == before

    late = put(**due)
    began = time.monotonic()
    assert run(leader, ops.promote("promote_retryable", aside=aside)) == 1
    # It is known, and left out.
    assert time.monotonic() - began < 0.2
    assert rows.job(late)["state"] == "available"
    producer.rollback()
    eventually(lambda: run(leader, ops.promote("promote_retryable", aside=aside)) == 1)
    assert rows.job(blocked)["state"] == "available"


def test_many_rows_in_the_way_do_not_stop_those_behind(leader, rows: Rows, put, key_taken) -> None:
    rows.conn.execute(
        "INSERT INTO awa.scheduled_jobs (kind, state, run_at, unique_key, unique_states)"
        " SELECT 'k', 'retryable', now() - interval '1 hour', int8send(n), '01100000'"
        " FROM generate_series(1, 400) AS n"
    )
    good = put(state="'retryable'", run_at="now() - interval '1 s'")
    key_taken("available", "01100000", 400)
    aside, longest = Aside(), 0.0

    def done() -> bool:
        nonlocal longest
        began = time.monotonic()
        run(leader, ops.promote("promote_retryable", 300, aside))
        longest = max(longest, time.monotonic() - began)
        return rows.job(good)["state"] == "available"

    eventually(done, 30)
    late = put(state="'retryable'", run_at="now() - interval '1 s'")
    assert run(leader, ops.promote("promote_retryable", 300, aside)) == 1
    assert rows.job(late)["state"] == "available"
    assert rows.states() == {"retryable": 400, "available": 2}
    assert longest < 4


def test_rows_that_others_hold_do_not_hide_those_behind(
    conn, rows: Rows, put, database_url
) -> None:
    due = {"state": "'scheduled'", "run_at": "now() - interval '1 min'"}
    held = [put(**due), put(**due)]
    free = put(state="'scheduled'", run_at="now() - interval '1 s'")
    aside = Aside()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.scheduled_jobs WHERE id = ANY(%s) FOR UPDATE", [held])
        moved = [run(conn, ops.promote("promote_scheduled", 2, aside)) for _ in range(2)]

    assert moved == [0, 1]
    assert rows.job(free)["state"] == "available"


@pytest.mark.parametrize("cause", ["heartbeat", "deadline", "callback"])
def test_an_open_transaction_on_a_key_fails_no_rescue(
    leader, rows: Rows, put, key_taken, cause: str
) -> None:
    """Its retry would wait for the key: it stays as it is until the transaction ends."""
    stale = {
        "heartbeat": {"state": "'running'", "heartbeat_at": "now() - interval '91 s'"},
        "deadline": {"state": "'running'", "deadline_at": "now() - interval '1 s'"},
        "callback": {"state": "'waiting_external'",
                     "callback_timeout_at": "now() - interval '1 s'"},
    }[cause]  # fmt: skip
    op = {
        "heartbeat": lambda aside: rescue_stale(90, aside=aside),
        "deadline": lambda aside: rescue_deadline(aside=aside),
        "callback": lambda aside: rescue_callbacks(aside=aside),
    }[cause]
    blocked = put(**stale, attempt="1", unique_key="int8send(1)", unique_states="'00001000'")
    good = put(**stale, attempt="1")
    producer = key_taken("scheduled", "10001000")
    before, aside = rows.job(blocked), Aside()

    assert [r.id for r in run(leader, op(aside))] == [good]
    assert rows.job(blocked) == before
    producer.rollback()
    (rescued,) = eventually(lambda: run(leader, op(aside)))
    assert (rescued.id, rescued.state) == (blocked, "retryable")


def test_rescue_leaves_rows_that_others_hold(conn, rows: Rows, put, database_url: str) -> None:
    stale = {"state": "'running'", "heartbeat_at": "now() - interval '91 s'", "attempt": "1"}
    held, free = put(**stale), put(**stale)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (held,))

        assert [r.id for r in run(conn, rescue_stale(90))] == [free]


@pytest.mark.parametrize("kinds", [["k"], ["k", "other"]])
@pytest.mark.parametrize("limited", [False, True])
def test_only_the_locks_of_others_are_remembered(
    conn, put, database_url: str, kinds: list[str], limited: bool
) -> None:
    """A claim, and a heartbeat that passes over locked rows, lock what they change."""
    awa.Client.on(conn).set_queue_policy("default", max_running=5)
    job_id, lease = put(), new_lease()

    def found(op: Op[object]) -> set[int]:
        run(conn, op)
        return run(conn, ops.once_locked_ids([job_id]))

    given = {"lease": lease, "limited": limited}
    assert found(claims.claim("default", kinds, 1, None, **given)) == set()
    assert found(claims.heartbeat([(job_id, lease)], skip_locked=True)) == set()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (job_id,))
        assert run(conn, ops.once_locked_ids([job_id])) == {job_id}
    assert run(conn, ops.once_locked_ids([job_id])) == {job_id}
    assert found(claims.heartbeat([(job_id, lease)])) == set()


def test_a_row_without_heartbeat_is_never_presumed_dead(conn, put) -> None:
    put(state="'running'")

    assert run(conn, rescue_stale(0)) == []


def test_aging_raises_priority_a_level_and_remembers_the_first(conn, rows: Rows, put) -> None:
    old = put(priority="4", run_at="now() - interval '61 s'")
    top = put(priority="1", run_at="now() - interval '61 s'")
    young = put(priority="4", run_at="now() - interval '10 s'")

    counts = [run(conn, ops.age(60)), run(conn, ops.age(60))]

    assert counts == [1, 1]
    assert rows.job(old)["priority"] == 2
    assert rows.job(old)["metadata"] == {"_awa_original_priority": 4}
    assert (rows.job(top)["priority"], rows.job(young)["priority"]) == (1, 4)


def test_retention_deletes_the_oldest_ended_jobs_by_queue(conn, rows: Rows, put) -> None:
    def ended(state: str, hours: int, queue: str = "a") -> int:
        return put(
            state=f"'{state}'", finalized_at=f"now() - interval '{hours} hours'",
            queue=f"'{queue}'",
        )  # fmt: skip

    gone = [ended("completed", 25), ended("failed", 73), ended("cancelled", 73)]
    kept = [ended("completed", 23), ended("failed", 71), ended("completed", 25, "own"), put()]

    deleted = run(conn, delete_finished(24 * 3600, 72 * 3600, 100, None, ("own",)))
    own = run(conn, delete_finished(24 * 3600, 72 * 3600, 100, "own"))

    assert (deleted, own) == (3, 1)
    left = {row["id"] for row in rows.all("SELECT id FROM awa.jobs")}
    assert left == set(kept) - {kept[2]}
    assert not left & set(gone)


def test_retention_is_bounded(conn, rows: Rows, put) -> None:
    for _ in range(5):
        put(state="'completed'", finalized_at="now() - interval '25 hours'")

    assert run(conn, delete_finished(24 * 3600, 72 * 3600, 2)) == 2


@pytest.mark.parametrize("forever", [1e9 * 3600, 1e300, float("inf"), float("nan")])
def test_a_retention_for_ever_keeps_and_stops_nothing(
    conn, rows: Rows, put, forever: float
) -> None:
    kept = put(state="'completed'", finalized_at="now() - interval '10 years'")
    gone = put(state="'failed'", finalized_at="now() - interval '10 years'")

    assert run(conn, delete_finished(forever, 3600, 100)) == 1
    assert [row["id"] for row in rows.all("SELECT id FROM awa.jobs")] == [kept]
    assert gone != kept


def test_rows_in_the_way_of_retention_stop_no_others(conn, rows: Rows, put, database_url) -> None:
    """One is held by somebody; of another the deletion is refused."""
    old = [put(state="'completed'", finalized_at="now() - interval '25 hours'") for _ in range(5)]
    rows.conn.execute(
        "CREATE FUNCTION awa.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''no''; END'"
    )
    rows.conn.execute(
        "CREATE TRIGGER refuse BEFORE DELETE ON awa.jobs_hot FOR EACH ROW"
        f" WHEN (OLD.id = {old[1]}) EXECUTE FUNCTION awa.refuse()"
    )
    aside = Aside()
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", (old[0],))
        for _ in range(3):
            run(conn, ops.delete_old("completed", 3600, 2, aside=aside))

    assert {row["id"] for row in rows.all("SELECT id FROM awa.jobs")} == set(old[:2])


def test_batches_of_a_round_go_on_where_the_last_one_ended(conn, rows: Rows, put) -> None:
    def ended(hours: int) -> int:
        return put(state="'completed'", finalized_at=f"now() - interval '{hours} hours'")

    for hours in (9, 8, 7):
        ended(hours)
    done = run(conn, ops.delete_old("completed", 3600, 2))
    late = ended(9)
    rest = run(conn, ops.delete_old("completed", 3600, 2, ended_after=done.last))

    assert (done.found, done.deleted, rest.found, rest.deleted) == (2, 2, 1, 1)
    assert [row["id"] for row in rows.all("SELECT id FROM awa.jobs")] == [late]
    assert run(conn, ops.delete_old("completed", 3600, 2)).deleted == 1


def test_a_recount_waits_for_nobody(leader, rows: Rows, database_url) -> None:
    with psycopg.connect(database_url) as other:
        awa.Client.on(other).flush_admin_metadata()
        with pytest.raises(awa.Transient):
            run(leader, ops.recount())


def test_counters_are_exact_after_a_recount(conn, rows: Rows, put) -> None:
    for state in ("available", "running", "failed", "scheduled", "scheduled"):
        put(state=f"'{state}'", queue="'c'")

    run(conn, ops.recount())

    row = rows.one("SELECT * FROM awa.queue_state_counts WHERE queue = 'c'")
    assert {key: row[key] for key in ("available", "running", "failed", "scheduled")} == {
        "available": 1, "running": 1, "failed": 1, "scheduled": 2,
    }  # fmt: skip
