"""Bulk operations: filters, batches, what happens to rows that resist; on both clients."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from fix_wait import eventually

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.bulk import advance_next
from awa_lib.ops.maintenance import forget

STATES = [
    "scheduled", "available", "running", "completed",
    "retryable", "failed", "cancelled", "waiting_external",
]  # fmt: skip


@pytest.fixture
def fill(look):
    """Insert many jobs alike; values are SQL of ``n``."""

    def fill(count: int, **columns: str) -> None:
        columns = {"kind": "'k'", "queue": "'q'", "state": "'failed'", **columns}
        names, values = ", ".join(columns), ", ".join(columns.values())
        look(
            f"INSERT INTO awa.jobs_hot ({names}) SELECT {values} FROM generate_series(1, %s) AS n",
            count,
        )

    return fill


def states(look) -> dict[str, int]:
    rows = look("SELECT state::text, count(*) AS n FROM awa.jobs GROUP BY state")
    return {row["state"]: row["n"] for row in rows}


async def carried_out(client, operation: str, **options) -> awa.BulkOperation:
    submitted = await client.submit_bulk_operation(operation, **options)
    return await client.run_bulk_operation(submitted.id)


@pytest.mark.parametrize(
    ("operation", "options", "taken", "column", "becomes"),
    [
        ("retry", {}, {"failed"}, "state", "available"),
        *(
            ("retry", {"state": state}, {state}, "state", "available")
            for state in ("cancelled", "waiting_external", "retryable")
        ),
        ("cancel", {}, {"scheduled", "available", "running", "retryable", "waiting_external"},
         "state", "cancelled"),
        ("delete", {}, {"completed", "failed", "cancelled"}, "state", None),
        ("set_priority", {"priority": 1}, {"scheduled", "available", "retryable"}, "priority", 1),
        ("move_queue", {"to_queue": "z"}, {"scheduled", "available", "retryable"}, "queue", "z"),
    ],
)  # fmt: skip
async def test_each_takes_the_states_of_its_single_verb(
    client, put, look, operation, options, taken, column, becomes
) -> None:
    before = {put(queue="q", state=state)["id"]: state for state in STATES}
    other = put(queue="other", state="failed")
    done = await carried_out(client, operation, queue="q", **options)
    after = {row["id"]: row for row in look("SELECT *, state::text AS state FROM awa.jobs")}

    assert (done.state, done.total_matched, done.processed) == ("completed", len(taken), len(taken))
    assert (done.skipped, done.errored, done.last_error) == (0, 0, None)
    assert after.pop(other["id"])["state"] == "failed"
    kept = {"state": None, "priority": 2, "queue": "q"}[column]
    for job_id, state in before.items():
        found = after[job_id][column] if job_id in after else None
        assert found == (becomes if state in taken else kept or state), state


async def test_cancel_tells_the_running_handler(client, put, heard) -> None:
    job = put(state="running", run_lease=3)
    await carried_out(client, "cancel", kind="k")

    assert heard() == [("awa:cancel", f'{{"job_id" : {job["id"]}, "run_lease" : 3}}')]


async def test_move_wakes_the_other_queue(client, put, heard) -> None:
    put(queue="old")
    heard()
    await carried_out(client, "move_queue", queue="old", to_queue="q")

    assert heard() == [("awa:q", "")]


@pytest.mark.parametrize(
    "where",
    [
        {"state": "failed"},
        {"kind": "a"},
        {"queue": "a"},
        {"tag": "a"},
        {"created_before": "2020-06-01T00:00:00Z"},
        {"args": {"to": {"id": 1}}},
        {"error": "reset by"},
    ],
)
async def test_filters(client, put, where) -> None:
    fits = put(
        state="failed", kind="a", queue="a", tags=["a", "b"], created_at="2020-01-01",
        args='{"to": {"id": 1, "name": "ada"}}', errors=['{"error": "connection reset by peer"}'],
    )  # fmt: skip
    put(state="cancelled", kind="b", queue="b", tags=["b"], args='{"to": {"id": 2}}',
        errors=['{"error": "reset by"}', '{"error": "time-out"}'])  # fmt: skip
    found = await client.preview_bulk_operation("retry", **where)

    assert found == awa.BulkPreview(1, [fits["id"]], {"failed": 1})


async def test_a_preview_says_how_many_are_in_which_state(client, put) -> None:
    ids = [put(state=state)["id"] for state in ("failed", "cancelled", "cancelled", "completed")]
    found = await client.preview_bulk_operation("delete", all=True)
    retried = await client.preview_bulk_operation("retry", all=True)

    assert found == awa.BulkPreview(4, ids, {"cancelled": 2, "completed": 1, "failed": 1})
    assert list(found.states) == ["cancelled", "completed", "failed"]
    assert retried == awa.BulkPreview(1, ids[:1], {"failed": 1})


async def test_filter_by_age_from_a_moment_on(client, put) -> None:
    put(state="failed", created_at="2020-01-01T00:00:00Z")
    late = put(state="failed", created_at="2020-01-02T00:00:00Z")
    found = await client.preview_bulk_operation("retry", created_after="2020-01-02T00:00:00Z")

    assert found.sample == [late["id"]]


async def test_a_batch_touches_500_at_most_and_shows_its_progress(client, fill, look) -> None:
    fill(1200)
    submitted = await client.submit_bulk_operation("retry", queue="q", submitted_by="ada")
    seen = []
    done = await client.run_bulk_operation(submitted.id, on_progress=seen.append)
    sizes = look("SELECT count(*) AS n FROM awa.jobs WHERE state = 'available' GROUP BY run_at"
                 " ORDER BY run_at")  # fmt: skip

    assert (submitted.state, submitted.total_matched, submitted.submitted_by) == (
        "pending", 1200, "ada",
    )  # fmt: skip
    assert [row["n"] for row in sizes] == [500, 500, 200]
    assert [(o.state, o.processed) for o in seen] == [
        ("running", 500), ("running", 1000), ("completed", 1200),
    ]  # fmt: skip
    assert done == seen[-1] == await client.get_bulk_operation(submitted.id)
    assert done.started_at is not None
    assert done.finished


async def test_goes_on_where_another_process_stopped(client, fill, look) -> None:
    fill(700)
    submitted = await client.submit_bulk_operation("delete", kind="k")
    assert run(look.conn, advance_next())
    assert states(look) == {"failed": 200}
    done = await client.run_bulk_operation(submitted.id)

    assert (states(look), done.processed, done.state) == ({}, 700, "completed")
    assert not run(look.conn, advance_next())


def test_a_crash_inside_a_batch_takes_all_of_it_back(fill, put, look, database_url) -> None:
    unique = {"unique_key": b"k" * 16, "unique_states": "01100000"}
    fill(600)
    put(state="failed", **unique)
    waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
    waits += " AND wait_event_type = 'Lock'"
    with awa.Client(database_url) as client, psycopg.connect(database_url) as other:
        submitted = client.submit_bulk_operation("retry", kind="k")
        run(look.conn, advance_next())
        # The last row of the second batch waits for this key.
        other.execute(
            "INSERT INTO awa.jobs_hot (kind, unique_key, unique_states) VALUES ('o', %s, %s)",
            list(unique.values()),
        )
        with ThreadPoolExecutor() as pool:
            driver = pool.submit(client.run_bulk_operation, submitted.id)
            (waiting,) = eventually(lambda: look(waits))
            look("SELECT pg_terminate_backend(%s)", waiting["pid"])
            with pytest.raises(awa.Unavailable):
                driver.result(10)
        half = client.get_bulk_operation(submitted.id)
        assert (half.state, half.processed) == ("running", 500)
        assert states(look) == {"available": 500, "failed": 101}
        other.rollback()
        done = client.run_bulk_operation(submitted.id)

    assert (done.state, done.processed, done.errored) == ("completed", 601, 0)


def test_progress_is_committed_with_the_changes(fill, look, database_url) -> None:
    """The leader's session ends where it records the batch."""
    fill(3, state="'available'")
    with awa.Client(database_url) as client:
        submitted = client.submit_bulk_operation("set_priority", kind="k", priority=1)
        look(
            "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
        )
        look(
            "CREATE TRIGGER cut BEFORE UPDATE ON awa.bulk_operations"
            " FOR EACH ROW EXECUTE FUNCTION cut()"
        )
        with pytest.raises(awa.Unavailable):
            client.run_bulk_operation(submitted.id)
        left = look("SELECT count(*) AS n FROM awa.jobs WHERE priority = 1")
        look("DROP TRIGGER cut ON awa.bulk_operations")
        done = client.run_bulk_operation(submitted.id)

    assert left == [{"n": 0}]
    assert (done.state, done.processed) == ("completed", 3)


async def test_each_job_is_changed_once(client, fill, look) -> None:
    fill(3, state="'available'")
    submitted = await client.submit_bulk_operation("set_priority", kind="k", priority=1)
    look("UPDATE awa.bulk_operations SET batch = 2")
    steps = [run(look.conn, advance_next()) for _ in range(3)]
    done = await client.get_bulk_operation(submitted.id)

    assert (steps, done.state, done.processed) == ([True, True, False], "completed", 3)


@pytest.mark.parametrize("way", ["take_next", "take_one"])
def test_two_leaders_do_no_batch_twice(fill, look, database_url, monkeypatch, way: str) -> None:
    """The second comes while the batch of the first is not committed."""
    monkeypatch.setattr("awa_lib.ops.batches._LOCK_MS", 10_000)
    fill(3, state="'available'")
    waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
    waits += " AND wait_event_type = 'Lock'"
    with awa.Client(database_url) as client, psycopg.connect(database_url) as first:
        submitted = client.submit_bulk_operation("set_priority", kind="k", priority=1)
        assert run(first, advance_next())
        with psycopg.connect(database_url, autocommit=True) as second, ThreadPoolExecutor() as pool:
            if way == "take_next":
                driver = pool.submit(run, second, advance_next())
            else:
                driver = pool.submit(client.run_bulk_operation, submitted.id)
            eventually(lambda: driver.done() or look(waits))
            first.commit()
            driver.result(10)
            look("UPDATE awa.bulk_operations SET retry_at = NULL")
            run(second, advance_next())
        done = client.get_bulk_operation(submitted.id)

    assert (done.state, done.processed, done.last_error) == ("completed", 3, None)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("queue = 'elsewhere'", {"queue": "q"}),
        ("kind = 'foreign'", {"kind": "k"}),
        ("tags = '{}'", {"tag": "t"}),
        ("state = 'running'", {"state": "available", "queue": "q"}),
    ],
    ids=["queue", "kind", "tag", "state"],
)
async def test_a_job_that_was_locked_is_matched_again(
    client, fill, look, database_url, change: str, where: dict
) -> None:
    fill(2, state="'available'", tags="ARRAY['t']")
    (moved, _) = [row["id"] for row in look("SELECT id FROM awa.jobs ORDER BY id")]
    submitted = await client.submit_bulk_operation("move_queue", to_queue="z", **where)
    with psycopg.connect(database_url) as other:
        other.execute(f"UPDATE awa.jobs_hot SET {change} WHERE id = %s", [moved])
        assert run(look.conn, advance_next())
        other.commit()
    done = await client.run_bulk_operation(submitted.id)

    assert (done.state, done.processed, done.skipped) == ("completed", 1, 1)
    assert look("SELECT queue <> 'z' AS stays FROM awa.jobs WHERE id = %s", moved) == [
        {"stays": True}
    ]


def test_a_job_whose_key_stays_locked_is_given_up(fill, put, look, database_url) -> None:
    unique = {"unique_key": b"k" * 16, "unique_states": "01100000"}
    fill(1)
    put(state="failed", **unique)
    with awa.Client(database_url) as client, psycopg.connect(database_url) as producer:
        submitted = client.submit_bulk_operation("retry", kind="k")
        producer.execute(
            "INSERT INTO awa.jobs_hot (kind, unique_key, unique_states) VALUES ('o', %s, %s)",
            list(unique.values()),
        )
        for _ in range(2):
            assert run(look.conn, advance_next())
        half = client.get_bulk_operation(submitted.id)
        look(
            "UPDATE awa.bulk_operations SET retry_at = NULL, failures = 20,"
            " failing_since = now() - interval '10 minutes'"
        )
        run(look.conn, advance_next())
        done = client.get_bulk_operation(submitted.id)

    assert (half.state, half.processed, half.errored) == ("running", 1, 0)
    assert (done.state, done.processed, done.errored) == ("completed", 1, 1)


async def test_a_failing_callback_loses_no_batch(client, fill, look) -> None:
    fill(700)
    submitted = await client.submit_bulk_operation("delete", kind="k")

    def crash(now: awa.BulkOperation) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await client.run_bulk_operation(submitted.id, on_progress=crash)
    assert (await client.get_bulk_operation(submitted.id)).processed == 500
    assert (await client.run_bulk_operation(submitted.id)).processed == 700


async def test_jobs_inserted_later_are_left_alone(client, put, look) -> None:
    put(state="failed")
    submitted = await client.submit_bulk_operation("delete", kind="k")
    put(state="failed")
    await client.run_bulk_operation(submitted.id)

    assert states(look) == {"failed": 1}


async def test_locked_jobs_are_come_back_to(client, fill, look, database_url) -> None:
    fill(3)
    (first, second, _) = [row["id"] for row in look("SELECT id FROM awa.jobs ORDER BY id")]
    submitted = await client.submit_bulk_operation("retry", kind="k")
    with psycopg.connect(database_url) as other, psycopg.connect(database_url) as third:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [first])
        third.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [second])
        assert run(look.conn, advance_next())
        half = await client.get_bulk_operation(submitted.id)
        other.rollback()
        done = await client.run_bulk_operation(submitted.id)

    assert (half.state, half.processed, half.skipped) == ("running", 1, 0)
    assert (done.state, done.processed, done.skipped) == ("completed", 2, 1)
    assert look("SELECT id FROM awa.jobs WHERE state = 'failed'") == [{"id": second}]


async def test_one_that_is_refused_does_not_stop_the_rest(client, fill, put, look) -> None:
    unique = {"unique_key": b"k" * 16, "unique_states": "01100000"}
    fill(2)
    bad = put(state="failed", **unique)
    fill(2)
    holder = put(kind="holder", **unique)
    done = await carried_out(client, "retry", kind="k")

    assert (done.state, done.processed, done.errored, done.skipped) == ("completed", 4, 1, 0)
    assert done.last_error == (
        f"job {bad['id']}: another live job holds the same unique key: job {holder['id']}"
    )
    assert look("SELECT id FROM awa.jobs WHERE state = 'failed'") == [{"id": bad["id"]}]


@pytest.fixture
def slow(fill, look, put):
    """The filter of an operation whose look takes long: it decompresses 250 MB."""
    fill(1, kind="'slow'", errors="ARRAY[jsonb_build_object('error', repeat('z', 100000))]")
    # Copies stay compressed; to compress each takes seconds.
    look(
        "INSERT INTO awa.jobs_hot (kind, queue, state, errors)"
        " SELECT kind, queue, state, errors FROM awa.jobs_hot, generate_series(1, 2499)"
    )
    put(kind="slow", state="failed", errors=['{"error": "needle"}'])
    return {"kind": "slow", "error": "needle"}


# What the operation looks for: another expression may take twice as long.
LOOK = """
SELECT FROM awa.jobs_hot
WHERE strpos(errors[cardinality(errors)] ->> 'error', 'needle') > 0
"""


@pytest.fixture
def impatient(database_url, slow, look):
    """The leader's session on a server that allows a statement a third of that look's time."""
    looks = []
    for _ in range(3):  # the first reads from the disk, and a busy machine makes one slow
        began = time.perf_counter()
        look(LOOK)
        looks.append(time.perf_counter() - began)
    third = int(min(looks) * 1000 / 3)
    options = f"-c statement_timeout={third}ms"
    with psycopg.connect(database_url, autocommit=True, options=options) as conn:
        yield conn


def test_one_that_times_out_lets_others_pass_and_takes_smaller_steps(
    fill, slow, look, impatient, database_url
) -> None:
    fill(1, kind="'quick'")
    with awa.Client(database_url) as client:
        first = client.submit_bulk_operation("delete", **slow)
        quick = client.submit_bulk_operation("delete", kind="quick")
        took = [run(impatient, advance_next()) for _ in range(3)]
        half = client.get_bulk_operation(first.id)
        done = client.get_bulk_operation(quick.id)

        def over() -> bool:
            look("UPDATE awa.bulk_operations SET retry_at = NULL")
            run(impatient, advance_next())
            return client.get_bulk_operation(first.id).finished

        eventually(over, 20)
        last = client.get_bulk_operation(first.id)

    assert took == [True, True, False]
    assert (half.state, half.processed) == ("pending", 0)
    assert half.last_error == "canceling statement due to statement timeout"
    assert (done.state, done.processed) == ("completed", 1)
    assert (last.state, last.processed, last.errored) == ("completed", 1, 0)


@pytest.mark.parametrize(
    ("failures", "minutes", "state"),
    [(18, 60, "running"), (19, 9, "running"), (19, 10, "failed")],
)
def test_one_that_never_works_fails_after_20_tries_and_10_minutes(
    slow, look, impatient, database_url, failures, minutes, state
) -> None:
    with awa.Client(database_url) as client:
        submitted = client.submit_bulk_operation("delete", **slow)
        look(
            "UPDATE awa.bulk_operations SET failures = %s, state = 'running',"
            " failing_since = now() - make_interval(mins => %s)",
            failures, minutes,
        )  # fmt: skip
        assert run(impatient, advance_next())
        found = client.get_bulk_operation(submitted.id)

    assert (found.state, found.finished) == (state, state == "failed")
    assert found.last_error == "canceling statement due to statement timeout"


def test_an_open_transaction_on_a_key_ends_nothing(fill, put, look, database_url) -> None:
    unique = {"unique_key": b"k" * 16, "unique_states": "01100000"}
    fill(3)
    blocked = put(state="failed", **unique)["id"]
    with awa.Client(database_url) as client, psycopg.connect(database_url) as producer:
        submitted = client.submit_bulk_operation("retry", kind="k")
        other = client.submit_bulk_operation("retry", kind="other")
        producer.execute(
            "INSERT INTO awa.jobs_hot (kind, unique_key, unique_states) VALUES ('o', %s, %s)",
            list(unique.values()),
        )
        first = [run(look.conn, advance_next()) for _ in range(3)]
        half = client.get_bulk_operation(submitted.id)
        assert client.get_bulk_operation(other.id).state == "completed"
        # It is put off now: nothing to do.
        assert (first[-1], run(look.conn, advance_next())) == (True, False)
        producer.rollback()
        done = client.run_bulk_operation(submitted.id)

    assert (half.state, half.processed, half.errored) == ("running", 3, 0)
    assert half.last_error is not None
    assert f"job {blocked}: " in half.last_error
    assert (done.state, done.processed, done.errored, done.skipped) == ("completed", 4, 0, 0)


def test_a_script_gives_up_on_what_stays_in_the_way_and_goes_on_later(
    fill, put, database_url, monkeypatch
) -> None:
    monkeypatch.setattr("awa_lib.ops.bulk._FIRST_PAUSE_SECONDS", 0.001)
    unique = {"unique_key": b"k" * 16, "unique_states": "01100000"}
    put(state="failed", **unique)
    with awa.Client(database_url) as client, psycopg.connect(database_url) as producer:
        submitted = client.submit_bulk_operation("retry", kind="k")
        producer.execute(
            "INSERT INTO awa.jobs_hot (kind, unique_key, unique_states) VALUES ('o', %s, %s)",
            list(unique.values()),
        )
        with pytest.raises(awa.Transient, match="cannot be finished now") as caught:
            client.run_bulk_operation(submitted.id)
        producer.rollback()
        done = client.run_bulk_operation(submitted.id)

    assert f"awa batch run {submitted.id}" in caught.value.hint
    assert (done.state, done.processed) == ("completed", 1)


async def test_cancel_stops_between_batches(client, fill, look) -> None:
    fill(700)
    submitted = await client.submit_bulk_operation("delete", kind="k")
    run(look.conn, advance_next())
    stopped = await client.cancel_bulk_operation(submitted.id)
    again = await client.run_bulk_operation(submitted.id)

    assert (stopped.state, stopped.processed, again) == ("cancelled", 500, stopped)
    assert (states(look), run(look.conn, advance_next())) == ({"failed": 200}, False)
    with pytest.raises(awa.Conflict, match="it is cancelled"):
        await client.cancel_bulk_operation(submitted.id)


async def test_one_that_cannot_go_on_fails_with_its_reason(client, put, look) -> None:
    put(state="failed")
    submitted = await client.submit_bulk_operation("delete", kind="k")
    look('UPDATE awa.bulk_operations SET filter = \'{"created_after": "x"}\'')
    done = await client.run_bulk_operation(submitted.id)

    assert (done.state, states(look)) == ("failed", {"failed": 1})
    assert "invalid input syntax" in done.last_error


async def test_nothing_to_do_is_done_at_once(client) -> None:
    done = await carried_out(client, "retry", kind="nobody")

    assert (done.state, done.total_matched, done.processed) == ("completed", 0, 0)


async def test_all_takes_everything(client, put, look) -> None:
    put(), put(queue="q", kind="z")
    done = await carried_out(client, "cancel", all=True)

    assert (done.processed, states(look)) == (2, {"cancelled": 2})


async def test_list(client) -> None:
    first = await client.submit_bulk_operation("retry", kind="a")
    second = await carried_out(client, "set_priority", args={"n": 1}, state="available", priority=3)

    assert [o.id for o in await client.list_bulk_operations()] == [second.id, first.id]
    assert [o.id for o in await client.list_bulk_operations(limit=1)] == [second.id]
    assert await client.list_bulk_operations(state="pending") == [first]
    assert (second.filter, second.spec) == (
        {"state": "available", "args": {"n": 1}}, {"priority": 3},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("operation", "options", "sentence"),
    [
        ("explode", {"kind": "k"}, "unknown bulk operation 'explode'"),
        (None, {"kind": "k"}, "unknown bulk operation None"),
        ("retry", {}, "retry needs at least one of kind, queue, tag, failure, state"),
        ("retry", {"all": "yes"}, "all must be True or False, got 'yes'"),
        ("retry", {"sate": "failed"}, "unknown filter 'sate'"),
        ("retry", {"state": "dead"}, "unknown job state: dead"),
        ("retry", {"state": "completed"}, "retry does not apply to jobs that are completed"),
        ("retry", {"kind": 1}, "kind must be text of at most 200 characters: 1"),
        ("retry", {"queue": []}, "queue must be text of at most 200 characters"),
        ("retry", {"tag": "\0"}, "tag holds a character that Postgres cannot store"),
        ("retry", {"created_after": "today"}, "created_after must be a datetime or RFC 3339 text"),
        ("retry", {"created_before": 5}, "created_before must be a datetime or RFC 3339 text: 5"),
        ("retry", {"args": "x"}, "args must be"),
        ("retry", {"error": ""}, "error must be a part of an error's text, got ''"),
        ("retry", {"kind": "k", "priority": 1}, "retry takes no priority"),
        ("delete", {"kind": "k", "to_queue": "z"}, "delete takes no to_queue"),
        ("set_priority", {"kind": "k"}, "set_priority needs priority"),
        ("set_priority", {"kind": "k", "priority": 0}, "priority must be a whole number from 1"),
        ("move_queue", {"kind": "k"}, "move_queue needs to_queue"),
        ("move_queue", {"kind": "k", "to_queue": ""}, "to_queue must not be empty"),
        ("move_queue", {"kind": "k", "to_queue": 1}, "to_queue must be text of at most 200"),
        ("retry", {"kind": "k", "submitted_by": 1}, "submitted_by must be text of at most 200"),
    ],
)
async def test_submit_refuses_what_it_cannot_do(client, look, operation, options, sentence) -> None:
    with pytest.raises(awa.ValidationError) as raised:
        await client.submit_bulk_operation(operation, **options)

    assert sentence in str(raised.value)
    assert look("SELECT 1 FROM awa.bulk_operations") == []


async def test_a_wrong_name_is_answered_with_the_nearest(client) -> None:
    with pytest.raises(awa.ValidationError) as raised:
        await client.preview_bulk_operation("retry", sate="failed")

    assert raised.value.hint == "did you mean: state"


async def test_unknown_operations(client) -> None:
    unknown = "00000000-0000-0000-0000-000000000000"
    for verb in ("get_bulk_operation", "cancel_bulk_operation", "run_bulk_operation"):
        with pytest.raises(awa.BulkOperationNotFound, match=unknown):
            await getattr(client, verb)(unknown)
        with pytest.raises(awa.ValidationError, match="id must be a UUID, got 7"):
            await getattr(client, verb)(7)
    with pytest.raises(awa.ValidationError, match="on_progress must be a function, got 3"):
        await client.run_bulk_operation(unknown, on_progress=3)
    with pytest.raises(awa.ValidationError, match="unknown state of a bulk operation: 'over'"):
        await client.list_bulk_operations(state="over")
    with pytest.raises(awa.ValidationError, match=r"limit must be .*: True"):
        await client.list_bulk_operations(limit=True)


async def test_ended_operations_are_forgotten_after_a_month(client, put, look) -> None:
    put(kind="k")
    made = {}
    for name in ("old", "recent", "open"):
        made[name] = (await client.submit_bulk_operation("cancel", kind="k")).id
    for name, days in (("old", 31), ("recent", 29)):
        look(
            "UPDATE awa.bulk_operations SET state = 'completed',"
            f" finished_at = now() - interval '{days} days' WHERE id = %s RETURNING id", made[name],
        )  # fmt: skip
    run(look.conn, forget(0))

    left = {one.id for one in await client.list_bulk_operations()}
    assert left == {made["recent"], made["open"]}
