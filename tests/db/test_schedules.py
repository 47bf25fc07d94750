"""Schedules through the clients: list, trigger, pause, resume, remove."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
from fix_wait import eventually
from psycopg.conninfo import make_conninfo

import awa_lib as awa
from awa_lib.cron import begin
from awa_lib.db.drive import run
from awa_lib.ops import cron as ops


def schedule(name: str = "nightly", **fields) -> ops.Schedule:
    given = {
        "kind": "report", "timezone": "UTC", "queue": "q", "priority": 3, "max_attempts": 4,
        "tags": ["t"], "metadata": {"m": 1}, "missed_fire_policy": "coalesce",
        "catch_up_limit": 100, "jitter_seconds": 0, **fields,
    }  # fmt: skip
    return ops.Schedule.build(name, given.pop("cron_expr", "30 2 * * *"), {"a": 1}, **given)


@pytest.fixture
def declare(conn):
    def write(*schedules: ops.Schedule, fresh: bool = True) -> None:
        run(conn, ops.declare(schedules, fresh=fresh))

    return write


@pytest.fixture
def conn(database_url: str):
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


async def test_list(client, declare) -> None:
    declare(schedule(), schedule("b", missed_fire_policy="catch_up", catch_up_limit=5))

    b, nightly = await client.list_cron_jobs()

    assert (nightly.name, nightly.kind, nightly.args, nightly.tags) == (
        "nightly", "report", {"a": 1}, ["t"],
    )  # fmt: skip
    assert (b.missed_fire_policy, b.catch_up_limit) == ("catch_up", 5)
    assert nightly.declared
    assert nightly.last_enqueued_at is None
    assert f"{nightly.next_fire_at:%H:%M}" == "02:30"
    assert [one.name for one in await client.list_cron_jobs("b")] == ["b"]


async def test_trigger_leaves_the_fires_alone(client, declare, look) -> None:
    declare(schedule())

    job = await client.trigger_cron_job("nightly")

    assert (job.kind, job.queue, job.args, job.priority) == ("report", "q", {"a": 1}, 3)
    assert job.metadata == {"m": 1, "cron_name": "nightly", "triggered_manually": True}
    assert look("SELECT last_enqueued_at FROM awa.cron_jobs") == [{"last_enqueued_at": None}]


async def test_pause_and_resume(client, declare, conn) -> None:
    declare(schedule())

    await client.pause_cron_job("nightly", "me")
    await client.pause_cron_job("nightly", "you")
    (paused,) = await client.list_cron_jobs()
    assert (paused.paused_by, paused.next_fire_at) == ("you", None)
    assert run(conn, ops.read_schedules()) == []
    declare(schedule(), fresh=False)
    assert run(conn, ops.read_schedules()) == []

    await client.resume_cron_job("nightly")
    await client.resume_cron_job("nightly")
    (row,) = run(conn, ops.read_schedules())
    # What it missed while paused stays missed.
    assert row.last_enqueued_at is not None
    assert (row.now - row.last_enqueued_at).total_seconds() < 10


async def test_removed_is_told_from_missing_and_stays_removed(client, declare) -> None:
    declare(schedule())

    assert await client.delete_cron_job("nightly") is True
    assert await client.delete_cron_job("nightly") is False
    declare(schedule(), fresh=False)
    assert await client.list_cron_jobs() == []
    for verb in ("trigger_cron_job", "pause_cron_job", "resume_cron_job"):
        with pytest.raises(awa.ScheduleNotFound, match="not found: 'nightly'") as removed:
            await getattr(client, verb)("nightly")
        with pytest.raises(awa.ScheduleNotFound) as missing:
            await getattr(client, verb)("nonesuch")
        assert removed.value.why.startswith("it was removed at 2")
        assert missing.value.why == "no process that has started declares it"

    declare(schedule())
    assert [one.name for one in await client.list_cron_jobs()] == ["nightly"]


@pytest.mark.parametrize("left", ["DELETE FROM awa.cron_jobs", "SELECT"], ids=["gone", "rewritten"])
def test_a_removed_schedule_that_comes_back_repeats_no_fire(conn, declare, look, left) -> None:
    """A leader of awa 0.5 may have written the row again meanwhile."""
    declare(schedule(cron_expr="* * * * *"))
    run(conn, ops.delete_cron_job("nightly"))
    conn.execute(
        "INSERT INTO awa.cron_jobs (name, cron_expr, kind) VALUES ('nightly', '* * * * *', 'k')"
    )
    conn.execute(left)

    declare(schedule(cron_expr="* * * * *"))

    (due,) = run(conn, ops.read_schedules())
    assert begin(due) >= look("SELECT declared_at FROM awa.cron_settings")[0][
        "declared_at"
    ].replace(microsecond=0)


def test_a_new_schedule_looks_back_a_minute(conn, declare) -> None:
    declare(schedule())

    (due,) = run(conn, ops.read_schedules())
    assert begin(due) == due.created_at - timedelta(minutes=1)


def test_declaring_again_keeps_what_happened_and_writes_only_changes(conn, declare, look) -> None:
    declare(schedule())
    conn.execute("UPDATE awa.cron_jobs SET last_enqueued_at = '2026-01-01'")
    before = look("SELECT xmin, * FROM awa.cron_jobs")

    declare(schedule(), fresh=False)
    assert look("SELECT xmin, * FROM awa.cron_jobs") == before
    declare(schedule(priority=1))

    (row,) = look("SELECT priority, last_enqueued_at FROM awa.cron_jobs")
    assert (row["priority"], row["last_enqueued_at"].isoformat()[:10]) == (1, "2026-01-01")


@pytest.mark.parametrize("last", ["'2026-01-01'", "NULL", "now() + interval '9 years'"])
@pytest.mark.parametrize(
    "change",
    [
        lambda conn: run(conn, ops.declare([schedule(cron_expr="*/5 * * * *")], fresh=True)),
        lambda conn: run(conn, ops.declare([schedule(timezone="Asia/Tokyo")], fresh=False)),
        lambda conn: run(
            conn,
            ops.apply_schedules([schedule(cron_expr="@hourly")], pause=[], resume=[], remove=[]),
        ),
        lambda conn: conn.execute("UPDATE awa.cron_jobs SET cron_expr = '* * * * *'"),
    ],
    ids=["declared", "another zone", "applied", "by hand"],
)
def test_a_changed_schedule_starts_from_now(conn, declare, look, change, last) -> None:
    declare(schedule())
    conn.execute(f"UPDATE awa.cron_jobs SET last_enqueued_at = {last}")

    change(conn)

    (row,) = look("SELECT last_enqueued_at - now() AS ago FROM awa.cron_jobs")
    assert -5 < row["ago"].total_seconds() <= 0


def test_who_sets_the_last_fire_with_the_expression_is_obeyed(conn, declare, look) -> None:
    declare(schedule())

    conn.execute("UPDATE awa.cron_jobs SET cron_expr = '@daily', last_enqueued_at = '2025-01-01 Z'")

    assert look("SELECT last_enqueued_at FROM awa.cron_jobs")[0]["last_enqueued_at"].year == 2025


# What somebody writes into awa.cron_jobs or awa.cron_settings, and what is said of it.
ODD_ROWS = {
    "cron_expr = 'x'": "invalid cron expression: 'x' has 1 fields",
    "cron_expr = ''": "invalid cron expression",
    "cron_expr = '0 0 31 2 *'": "never fires",
    "timezone = 'Mars/Phobos'": "invalid timezone: 'Mars/Phobos'",
    "kind = repeat('k', 201)": "kind must be text of at most 200",
    "queue = ''": "queue must not be empty",
    "queue = repeat('q', 201)": "queue must be text of at most 200",
    "priority = 9": "priority must be a whole number from 1 to 4: 9",
    "max_attempts = -1": "max_attempts must be a whole number",
    "tags = array_fill('t'::text, ARRAY[21])": "the number of tags must be",
    "metadata = '[1]'": "metadata must be a JSON object, not array",
    "created_at = 'infinity'": "is no time between",
    "last_enqueued_at = '-infinity'": "is no time between",
    "last_enqueued_at = 'infinity'": "is no time between",
    "last_enqueued_at = '20000-01-01'": "is no time between",
    "last_enqueued_at = '2999-01-01 Z'": "nothing fires before 2999-01-01 00:00:00Z",
    "created_at = '2999-01-01 00:01 Z'": "created_at is in the future: nothing fires before 2999",
    "missed_fire_policy = 'all'": "missed_fire_policy must be one of",
    "catch_up_limit = 0": "catch_up_limit must be a whole number from 1 to 10000: 0",
    "jitter_seconds = 'NaN'": "jitter_seconds must be a number",
    "jitter_seconds = -1": "jitter_seconds must be a number",
    "jitter_seconds = 'infinity'": "jitter_seconds must be a number",
}


@pytest.mark.parametrize(("change", "words"), ODD_ROWS.items(), ids=list(ODD_ROWS))
async def test_an_odd_row_is_shown_with_what_is_wrong(client, declare, conn, change, words) -> None:
    declare(schedule("a"), schedule("b"))
    spoil(conn, "a", change)

    a, b = await client.list_cron_jobs()

    assert words in a.problem
    assert b.problem is None
    assert b.next_fire_at is not None
    if "2999" in change:
        assert a.next_fire_at.isoformat()[:16] == "2999-01-01T02:30"
    else:
        assert a.next_fire_at is None


def spoil(conn, name: str, change: str) -> None:
    """Write by hand, past the constraints."""
    column = change.partition(" ")[0]
    settings = column in {"missed_fire_policy", "catch_up_limit", "jitter_seconds"}
    for constraint in ("policy", "limit", "jitter"):
        conn.execute(f"ALTER TABLE awa.cron_settings DROP CONSTRAINT cron_settings_{constraint}")
    table = "cron_settings" if settings else "cron_jobs"
    conn.execute(f"UPDATE awa.{table} SET {change} WHERE name = %s", [name])


def by_hand(conn, change: str) -> None:
    conn.execute(f"UPDATE {change} WHERE name = 'nightly'")


def fire_of(conn, name: str = "nightly") -> ops.Fire:
    (row,) = (row for row in run(conn, ops.read_schedules()) if row.name == name)
    return ops.Fire(name, row.last_enqueued_at, ((row.now, row.now),), row.version)


@pytest.mark.parametrize(
    "change",
    [
        lambda conn: run(conn, ops.pause_cron_job("nightly")),
        lambda conn: run(conn, ops.delete_cron_job("nightly")),
        lambda conn: run(conn, ops.declare([schedule(cron_expr="@daily")], fresh=True)),
        lambda conn: run(conn, ops.declare([schedule(timezone="Asia/Tokyo")], fresh=True)),
        lambda conn: by_hand(conn, "awa.cron_settings SET paused_at = now()"),
        lambda conn: by_hand(conn, "awa.cron_settings SET removed_at = now()"),
        lambda conn: by_hand(conn, "awa.cron_jobs SET last_enqueued_at = now()"),
    ],
    ids=["paused", "removed", "expression", "zone", "paused by hand", "gone by hand", "fired"],
)
@pytest.mark.parametrize("open_", [False, True], ids=["committed", "not committed"])
def test_what_was_changed_since_it_was_read_does_not_fire(
    conn, declare, look, database_url, change, open_
) -> None:
    declare(schedule(), schedule("other"))
    fires = [fire_of(conn), fire_of(conn, "other")]

    with psycopg.connect(database_url, autocommit=not open_) as somebody:
        change(somebody)
        conn.execute("SET lock_timeout = '2s'")
        assert run(conn, ops.fire(fires)) == 1
        somebody.rollback()

    assert [
        job["name"] for job in look("SELECT metadata ->> 'cron_name' AS name FROM awa.jobs")
    ] == ["other"]


def test_a_fire_is_made_once(conn, declare) -> None:
    """Without a version too: the last fire is compared by itself."""
    declare(schedule())
    fire = replace(fire_of(conn), version=None)

    assert [run(conn, ops.fire([fire])) for _ in range(2)] == [1, 0]


def test_an_operator_is_told_that_a_schedule_is_locked(conn, declare, look, database_url) -> None:
    declare(schedule())
    changed = [schedule(priority=1), schedule("new")]
    with psycopg.connect(database_url) as somebody:
        run(somebody, ops.pause_cron_job("nightly"))
        with pytest.raises(awa.Transient, match="the schedule 'nightly' is locked"):
            run(conn, ops.apply_schedules(changed, pause=[], resume=[], remove=[]))
        assert run(conn, ops.declare(changed, fresh=True)) == ["nightly"]

    assert look("SELECT name, priority FROM awa.cron_jobs ORDER BY 1") == [
        {"name": "new", "priority": 3}, {"name": "nightly", "priority": 3},
    ]  # fmt: skip


def test_a_pause_of_a_schedule_without_settings_is_seen_too(conn, declare, database_url) -> None:
    """A schedule of awa 0.5 has no row of ours: the pause writes the first."""
    declare(schedule())
    conn.execute("DELETE FROM awa.cron_settings")
    fire = fire_of(conn)

    with psycopg.connect(database_url) as somebody:
        run(somebody, ops.pause_cron_job("nightly"))
        assert run(conn, ops.fire([fire])) == 0
    assert run(conn, ops.fire([fire])) == 0
    run(conn, ops.resume_cron_job("nightly"))
    assert run(conn, ops.fire([fire_of(conn)])) == 1


def test_a_pause_between_the_look_of_a_fire_and_its_lock_is_seen(
    conn, declare, look, database_url
) -> None:
    """The fire has its snapshot, in which there are no settings yet."""
    declare(schedule())
    conn.execute("DELETE FROM awa.cron_settings")
    fire = fire_of(conn)
    conn.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('application_name') = 'leader' THEN"
        " PERFORM pg_advisory_xact_lock(1); END IF; RETURN NULL; END $$"
    )
    conn.execute(
        "CREATE TRIGGER wait BEFORE UPDATE ON awa.cron_jobs"
        " FOR EACH STATEMENT EXECUTE FUNCTION wait()"
    )
    conn.execute("SELECT pg_advisory_lock(1)")
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'leader'"
    waiting += " AND datname = current_database() AND wait_event_type = 'Lock'"
    named = make_conninfo(database_url, application_name="leader")
    with psycopg.connect(named, autocommit=True) as leader, ThreadPoolExecutor() as threads:
        firing = threads.submit(run, leader, ops.fire([fire]))
        eventually(lambda: look(waiting))
        run(conn, ops.pause_cron_job("nightly"))
        conn.execute("SELECT pg_advisory_unlock(1)")

        assert firing.result(10) == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cron_expr": "x"}, "invalid cron expression"),
        ({"timezone": "Nowhere"}, "invalid timezone: 'Nowhere'"),
        ({"priority": 5}, "priority must be a whole number from 1 to 4: 5"),
        ({"max_attempts": 0}, "max_attempts must be a whole number from 1 to 1000: 0"),
        ({"missed_fire_policy": "all"}, "missed_fire_policy must be one of"),
        ({"catch_up_limit": 0}, "catch_up_limit must be a whole number from 1 to 10000: 0"),
        ({"catch_up_limit": True}, "catch_up_limit must be a whole number"),
        ({"jitter_seconds": -1}, "jitter_seconds must be a number from 0 to 86400, got -1"),
        ({"jitter_seconds": float("nan")}, "jitter_seconds must be a number from 0"),
        ({"metadata": [1]}, "metadata must be a dict, got list"),
        ({"tags": "t"}, "tags must be a list of texts: 't'"),
    ],
)
def test_bad_schedule_is_refused_at_declaration(fields, message: str) -> None:
    with pytest.raises(awa.ValidationError, match=message):
        schedule(**fields)


@pytest.mark.parametrize("name", ["", "x" * 201, "a\x00", 7])
def test_bad_name(name) -> None:
    with pytest.raises(awa.ValidationError, match=r"name (must|holds)"):
        schedule(name)
