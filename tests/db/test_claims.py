"""What workers ask of the database: claims, beats and ends, beside transactions of others."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from fix_wait import eventually

import awa_lib as awa
from awa_lib._sql import BEGIN, COMMIT, ROLLBACK, Rows, folder
from awa_lib.db.drive import run
from awa_lib.ops import claims, maintenance
from awa_lib.ops.apart import Aside
from awa_lib.ops.late_jobs import Begin
from awa_lib.ops.leases import LARGEST_PROCESS_NUMBER, Leases, new_lease


def begins(*kinds: str, at: str = "-infinity") -> list[Begin]:
    return [Begin(kind, priority, at) for priority in range(1, 5) for kind in kinds]


ONE_RUNNING = {"by_args": True, "states": 0b100}
WAYS = {
    "one kind": {"kinds": ["k"]},
    "two kinds": {"kinds": ["k", "other"]},
    "one kind, from marks": {"kinds": ["k"], "begins": begins("k")},
    "two kinds, from marks": {"kinds": ["k", "other"], "begins": begins("k", "other")},
    "limited": {"kinds": ["k"], "limited": True},
    "limited, two kinds": {"kinds": ["k", "other"], "limited": True},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One of the forms of a claim."""
    return WAYS[request.param]


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The worker's connection: it waits for nobody."""
    with psycopg.connect(database_url, autocommit=True, options="-c lock_timeout=100") as conn:
        yield conn


@pytest.fixture
def locked(database_url: str) -> Callable[..., Any]:
    """Return a context in which a transaction of somebody holds these jobs."""

    @contextmanager
    def locked(*ids: int) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(database_url) as other:
            other.execute("SELECT FROM awa.jobs_hot WHERE id = ANY (%s) FOR UPDATE", [list(ids)])
            yield other
            other.rollback()

    return locked


@pytest.fixture
def jobs(put: Any) -> Callable[..., list[int]]:
    """Insert so many jobs of queue q; return their ids."""
    return lambda count, **columns: [put(**{"queue": "q", **columns})["id"] for _ in range(count)]


def claim(conn: Any, limit: int, **given: Any) -> list[int]:
    given = {"kinds": ["k"], "lease": 7, **given}
    return [
        row[0] for row in run(conn, claims.claim("q", given.pop("kinds"), limit, None, **given))
    ]


def each(conn: Any, limit: int, **given: Any) -> tuple[list[int], dict[int, awa.AwaError]]:
    given = {"kinds": ["k"], "lease": 7, **given}
    given.pop("begins", None)
    rows, errors = run(conn, claims.claim_each("q", given.pop("kinds"), limit, None, **given))
    return [row[0] for row in rows], errors


def policy(look: Any, **limits: int) -> None:
    names, values = ", ".join(limits), ", ".join(str(value) for value in limits.values())
    look(f"INSERT INTO awa.queue_policies (queue, {names}) VALUES ('q', {values})")


def keyed(jobs: Any, *keys: str, **columns: Any) -> list[int]:
    made = [f'{{"_awa_concurrency_key": "{key}"}}' for key in keys]
    return [jobs(1, metadata=metadata, **columns)[0] for metadata in made]


# -- leases


def test_leases_are_random_exact_in_json_and_of_each_process_its_own() -> None:
    leases = {new_lease() for _ in range(1000)}
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, str(new_lease()).encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert len(leases) == 1000
    assert 0 < min(leases) < max(leases) < 2**53
    assert int(os.read(reader, 20)) != new_lease()
    assert all(lease % 512 for lease in leases)  # none names a process


@pytest.mark.parametrize("number", [1, LARGEST_PROCESS_NUMBER])
def test_leases_of_a_process_name_it_and_differ(number: int) -> None:
    leases = Leases()
    leases.process = number
    found = {leases.next() for _ in range(1000)}

    assert len(found) == 1000
    assert {lease >> 29 for lease in found} == {number}
    assert {lease % 512 for lease in found} == {0}
    assert max(found) + 2**20 < 2**53


def test_leases_come_again_after_a_million_claims() -> None:
    leases = Leases()
    leases.process = 7
    first = leases.next()
    later = [leases.next() for _ in range(2**20)]

    assert later.index(first) == 2**20 - 1


def test_all_rows_of_a_claim_have_its_lease(conn, look, jobs, way) -> None:
    ids = jobs(3)

    assert claim(conn, 9, **way, lease=2**53 - 2**20) == ids
    assert look("SELECT DISTINCT run_lease, attempt, state::text FROM awa.jobs_hot") == [
        {"run_lease": 2**53 - 2**20, "attempt": 1, "state": "running"}
    ]


def test_workers_of_the_release_before_claim_within_limits_too(conn, look, jobs) -> None:
    ids = jobs(4)
    policy(look, max_running=3)
    claimed = look("SELECT id, run_lease FROM awa.claim_within_limits('q', '{k}', 9, NULL)")

    assert sorted(row["id"] for row in claimed) == ids[:3]
    assert 2**30 < claimed[0]["run_lease"] == claimed[2]["run_lease"] < 2**53
    assert look("SELECT id FROM awa.claim_within_limits('q', '{k}', 9, NULL)") == []


def test_who_may_call_the_old_function_may_call_the_new_one(look) -> None:
    role = f"awa_claims_{uuid.uuid4().hex[:8]}"
    script = folder() / "migrations" / "toolkit" / "0014_claim_leases.sql"
    old = "awa.claim_within_limits(text, text[], integer, float8)"
    new = "awa.claim_limited(text, text[], integer, float8, bigint, bigint[], bigint)"
    may = f"SELECT has_function_privilege('{role}', '{new}', 'EXECUTE') AS may"
    look(f'CREATE ROLE "{role}"')
    try:
        look(f"REVOKE ALL ON FUNCTION {old}, {new} FROM PUBLIC")
        assert look(may) == [{"may": False}]
        look(f'GRANT EXECUTE ON FUNCTION {old} TO "{role}"')
        look("DELETE FROM awa.toolkit_migrations WHERE version = 14")
        look.conn.execute(script.read_text())

        assert look(may) == [{"may": True}]
        assert look(may.replace(role, "public")) == [{"may": False}]
    finally:
        look(f'DROP OWNED BY "{role}"')
        look(f'DROP ROLE "{role}"')


# -- what a claim passes over


def test_ids_to_pass_over_are(conn, jobs, way) -> None:
    ids = jobs(3)

    assert claim(conn, 2, **way, passing=ids[:2]) == ids[2:]
    assert each(conn, 2, **way, passing=ids[:1]) == (ids[1:2], {})


def test_paused_queue_gives_none(conn, look, jobs, way) -> None:
    jobs(1)
    look("INSERT INTO awa.queue_meta (queue, paused) VALUES ('q', true)")

    assert (claim(conn, 9, **way), each(conn, 9, **way)) == ([], ([], {}))


@pytest.mark.parametrize("count", [1, 40])
def test_locked_jobs_are_passed_over(conn, look, jobs, way, locked, count) -> None:
    policy(look, max_running=2)
    ids = jobs(count + 3)
    with locked(*ids[:count]):
        # Of several kinds, only a look from the start looks beyond twice as many as are wanted.
        short = "begins" in way and len(way["kinds"]) > 1 and count > 2
        assert claim(conn, 1, **way) == ([] if short else ids[count : count + 1])
        taken = count + (not short)
        assert each(conn, 1, **way) == (ids[taken : taken + 1], {})


def test_locked_jobs_do_not_hold_up_their_key_nor_others(conn, look, jobs, locked) -> None:
    policy(look, max_running_per_key=1)
    a1, a2, b, c = keyed(jobs, "a", "a", "b", "c")
    with locked(a1, b):
        assert claim(conn, 9, limited=True) == [a2, c]


def test_a_locked_flood_of_a_key_holds_up_neither_keys_nor_jobs_without(
    conn, look, jobs, locked
) -> None:
    policy(look, max_running_per_key=1)
    flood = keyed(jobs, *["flood"] * 60, priority=1)
    (free,), (key,) = jobs(1), keyed(jobs, "z")
    with locked(*flood[:50]):
        found = [job for _ in range(40) for job in claim(conn, 1, limited=True)]

    assert sorted(found) == sorted([flood[50], free, key])


@pytest.mark.parametrize("kinds", [["k"], ["k", "other"]])
def test_job_that_moves_while_it_is_claimed_stays_where_it_went(conn, look, jobs, kinds) -> None:
    """The claim has its snapshot, and waits; the move is committed; then it locks the job."""
    moved, late, changed, ended, stays = jobs(5)
    look(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_setting('application_name') = 'claims' THEN"
        " PERFORM pg_advisory_xact_lock(1); END IF; RETURN NULL; END $$"
    )
    look(
        "CREATE TRIGGER wait BEFORE UPDATE ON awa.jobs_hot"
        " FOR EACH STATEMENT EXECUTE FUNCTION wait()"
    )
    look("SELECT pg_advisory_lock(1)")
    conn.execute("SET lock_timeout = 0")
    conn.execute("SET application_name = 'claims'")
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'advisory'"
    waiting += " AND datname = current_database()"
    with ThreadPoolExecutor() as threads:
        claiming = threads.submit(claim, conn, 9, kinds=kinds)
        eventually(lambda: bool(look(waiting)))
        look("UPDATE awa.jobs_hot SET queue = 'elsewhere' WHERE id = %s", moved)
        look("UPDATE awa.jobs_hot SET run_at = now() + interval '1 h' WHERE id = %s", late)
        look("UPDATE awa.jobs_hot SET kind = 'foreign' WHERE id = %s", changed)
        look("UPDATE awa.jobs_hot SET state = 'cancelled' WHERE id = %s", ended)
        look("SELECT pg_advisory_unlock(1)")
        claimed = claiming.result()

    assert claimed == [stays]
    assert look("SELECT id FROM awa.jobs_hot WHERE state = 'running'") == [{"id": stays}]


def test_urgent_job_that_comes_between_two_looks_does_not_exceed_its_key(conn, look, jobs) -> None:
    """The function writes down where its look for jobs without a key goes on: there it comes."""
    policy(look, max_running_per_key=1, scan_id=1)
    keyed(jobs, *["shop"] * 40)
    look(
        "CREATE FUNCTION urgent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " INSERT INTO awa.jobs_hot (kind, queue, priority, metadata)"
        """ VALUES ('k', 'q', 1, '{"_awa_concurrency_key": "shop"}'); RETURN NULL; END $$"""
    )
    look(
        "CREATE TRIGGER urgent AFTER UPDATE ON awa.queue_policies"
        " FOR EACH ROW EXECUTE FUNCTION urgent()"
    )
    claimed = claim(conn, 9, limited=True)

    assert len(look("SELECT id FROM awa.jobs_hot WHERE priority = 1")) >= 1
    assert len(claimed) == 1


def test_uncommitted_policy_concerns_its_queue_alone(conn, look, jobs, database_url) -> None:
    policy(look, max_running=3)
    look("INSERT INTO awa.queue_policies (queue, max_running) VALUES ('other', 3)")
    ids = jobs(1)
    with psycopg.connect(database_url) as other:
        other.execute("UPDATE awa.queue_policies SET max_running = 1 WHERE queue = 'other'")
        assert claim(conn, 9, limited=True) == ids
        other.execute("UPDATE awa.queue_policies SET max_running = 1 WHERE queue = 'q'")
        with pytest.raises(awa.Transient):
            claim(conn, 9, limited=True)


# -- one by one


@pytest.fixture
def twins(database_url: str) -> list[int]:
    """Two jobs of which one may run at a time, and two others."""
    with awa.Client(database_url) as client:
        made = [
            client.insert({"u": 1}, kind="k", queue="q", unique_opts=ONE_RUNNING) for _ in range(2)
        ]
        return [job.id for job in (*made, *client.insert_many([{}] * 2, kind="k", queue="q"))]


def test_jobs_of_which_one_may_run_are_claimed_one_by_one(conn, twins, way) -> None:
    with pytest.raises(awa.UniqueConflict):
        claim(conn, 9, **way)
    claimed, errors = each(conn, 9, **way)

    assert claimed == [twins[0], *twins[2:]]
    assert [(key, type(error)) for key, error in errors.items()] == [(twins[1], awa.UniqueConflict)]
    assert claim(conn, 9, **way, passing=[twins[1]]) == []


def test_one_by_one_a_refused_job_undoes_no_other_in_the_same_transaction(conn, twins, way) -> None:
    """Behind a transaction pooler all statements of a claim share a transaction."""
    with conn.transaction():
        claimed, errors = each(conn, 9, **way)

    running = conn.execute("SELECT id FROM awa.jobs_hot WHERE state = 'running' ORDER BY id")
    assert [row[0] for row in running] == claimed == [twins[0], *twins[2:]]
    assert [(key, type(error)) for key, error in errors.items()] == [(twins[1], awa.UniqueConflict)]


def test_one_by_one_ends_before_leases_are_old(conn, jobs, look, way) -> None:
    """The jobs begin only when the call returns: hundreds of slow ones were rescued before."""
    ids = jobs(40)
    conn.execute(
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$"
    )
    conn.execute(
        "CREATE TRIGGER slow AFTER UPDATE ON awa.jobs_hot"
        " FOR EACH STATEMENT EXECUTE FUNCTION public.slow()"
    )

    claimed, errors = each(conn, 40, **way)

    assert claimed == ids[: len(claimed)]
    assert 1 <= len(claimed) <= 5
    assert errors == {}
    (left,) = look("SELECT count(*) FROM awa.jobs_hot WHERE state = 'available'")
    assert left["count"] == 40 - len(claimed)


def test_one_by_one_what_is_claimed_is_returned_though_the_next_look_fails(jobs, conn) -> None:
    (first,) = jobs(1)
    op = claims.claim_each("q", ["k"], 9, None, lease=7)
    row, looks = (first, "the rest"), 0
    statement = next(op)
    with pytest.raises(StopIteration) as stop:
        while True:
            if statement is BEGIN or statement is COMMIT or statement is ROLLBACK:
                statement = op.send(Rows())
            elif statement.query.name == "candidates":
                looks += 1
                if looks == 2:
                    statement = op.throw(awa.Transient("cut off", sqlstate="57014"))
                else:
                    statement = op.send(Rows([(first,)]))
            else:
                statement = op.send(Rows([row]))

    assert stop.value.value == ([row], {})


def test_rows_one_by_one_are_like_those_of_a_claim(conn, jobs, way) -> None:
    jobs(2, tags=["t"], metadata='{"m": 1}')
    alone = run(conn, claims.claim_each("q", way["kinds"], 1, 9.0, lease=7,
                                        limited=way.get("limited", False)))[0][0]  # fmt: skip
    rows = run(conn, claims.claim("q", way["kinds"], 1, 9.0, lease=7,
                                  limited=way.get("limited", False)))  # fmt: skip

    varied = {"id", "run_at", "created_at", "deadline_at"}
    assert [v for v, c in zip(alone, rows.columns, strict=True) if c not in varied] == [
        v for v, c in zip(rows[0], rows.columns, strict=True) if c not in varied
    ]


def test_a_key_that_somebody_is_taking_is_reported_and_the_others_claimed(
    conn, twins, way, database_url
) -> None:
    with psycopg.connect(database_url) as other:
        claim(other, 1)
        claimed, errors = each(conn, 9, **way)
        other.rollback()

    assert claimed == twins[2:]
    assert [(key, type(error)) for key, error in errors.items()] == [(twins[1], awa.Transient)]


def test_one_by_one_stays_within_the_limits(conn, look, jobs, twins) -> None:
    policy(look, max_running=2)

    assert each(conn, 9, limited=True)[0] == [twins[0], twins[2]]
    assert each(conn, 9, limited=True) == ([], {})


def test_one_by_one_stays_within_the_limits_of_keys(conn, look, jobs) -> None:
    policy(look, max_running_per_key=1)
    a, _, b = keyed(jobs, "a", "a", "b")

    assert each(conn, 9, limited=True) == ([a, b], {})
    assert each(conn, 9, limited=True) == ([], {})


def test_it_stops_after_so_many_errors(conn, database_url) -> None:
    with awa.Client(database_url) as client:
        for _ in range(20):
            client.insert({"u": 1}, kind="k", queue="q", unique_opts=ONE_RUNNING)
    claimed, errors = each(conn, 20)

    assert (len(claimed), len(errors)) == (1, 16)


# -- a claim whose answer never arrived


def test_lost_claim_is_handed_back_and_does_not_count(conn, look, jobs, locked, heard) -> None:
    ids = jobs(4, max_attempts=1)
    claim(conn, 3, lease=7)
    claim(conn, 1, lease=8)
    heard()
    with locked(ids[1]):
        assert run(conn, claims.hand_back_claim("q", 7, keep=[ids[0]])) == ids[2:3]
    assert run(conn, claims.hand_back_claim("elsewhere", 7)) == []
    row = look("SELECT * FROM awa.jobs_hot WHERE id = %s", ids[2])[0]
    states = look("SELECT state::text AS s FROM awa.jobs_hot ORDER BY id")

    assert (row["attempt"], row["heartbeat_at"], row["deadline_at"]) == (0, None, None)
    assert [one["s"] for one in states] == ["running", "running", "available", "running"]
    assert heard() == [("awa:q", "")]


# -- beats and ends

ERROR = SimpleNamespace(target="failed", error="no", terminal=True, error_type=None, failure=None, limit=None,
                        delay=None, attempt_back=0)  # fmt: skip


def attempt(job_id: int, lease: int = 7) -> Any:
    job = SimpleNamespace(id=job_id, workflow_id=None)
    return SimpleNamespace(job=job, lease=lease, progress_text='{"p": 1}', result=None, trace=None)


TOUCHES = {
    "heartbeat": claims.heartbeat,
    "write_progress": lambda pairs, **given: claims.write_progress(
        pairs, ['{"p": 1}'] * len(pairs), **given
    ),
    "finish_completed": lambda pairs, **given: claims.finish_completed(
        [attempt(*pair) for pair in pairs], **given
    ),
    "finish_attempts": lambda pairs, **given: claims.finish_attempts(
        [(attempt(*pair), ERROR) for pair in pairs], **given
    ),
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_what_is_locked_is_told_from_what_is_gone(conn, look, jobs, locked, touch) -> None:
    ids = jobs(5)
    claim(conn, 4, lease=7)
    look("UPDATE awa.jobs_hot SET heartbeat_at = NULL")
    pairs = [(ids[0], 7), (ids[1], 7), (ids[2], 99), (ids[3], 7), (ids[4], 7)]
    with locked(ids[0], ids[2]):
        with pytest.raises(awa.Transient):
            run(conn, touch(pairs))
        missed = run(conn, touch(pairs, skip_locked=True))
    again = run(conn, touch([pairs[0]], skip_locked=True))
    touched = look(
        "SELECT id FROM awa.jobs_hot WHERE heartbeat_at IS NOT NULL OR state NOT IN"
        " ('running', 'available') ORDER BY id"
    )

    assert missed == claims.Missed(stale=[ids[2], ids[4]], busy=[ids[0]])
    assert again == claims.Missed([], [])
    assert [row["id"] for row in touched] == [ids[0], ids[1], ids[3]]


CHANGES = {
    "another lease": "run_lease = 8",
    "cancelled": "state = 'cancelled', finalized_at = now()",
    "handed back": "state = 'available'",
    "waiting": "state = 'waiting_external'",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_only_the_attempt_that_runs_touches_its_job(conn, look, jobs, touch, change) -> None:
    """It was taken away; the lease that it had may still be in the row."""
    first, lost, last = jobs(3)
    claim(conn, 3, lease=7)
    look(f"UPDATE awa.jobs_hot SET {change} WHERE id = %s", lost)
    before = look("SELECT * FROM awa.jobs_hot WHERE id = %s", lost)
    missed = run(conn, touch([(first, 7), (lost, 7), (last, 7)]))
    held = run(conn, touch([(lost, 7)], skip_locked=True))

    assert look("SELECT * FROM awa.jobs_hot WHERE id = %s", lost) == before
    assert missed == held == claims.Missed([lost], [])


@pytest.mark.parametrize("skip_locked", [False, True])
def test_ends_of_tasks_are_noted_with_them(conn, look, jobs, skip_locked) -> None:
    """An end that is not written, an attempt that is followed by another, a plain job: no note."""
    ids = jobs(8)
    claim(conn, 8, lease=7)
    one, two, plain, stale, failed, cancelled, again, other = (
        attempt(job_id, 8 if at == 3 else 7) for at, job_id in enumerate(ids)
    )
    for task in (one, two, stale, failed, cancelled, again):
        task.job.workflow_id = 5
    other.job.workflow_id = 3
    endings = {
        name: SimpleNamespace(**{**vars(ERROR), "target": name})
        for name in ("failed", "cancelled", "retryable")
    }
    run(conn, claims.finish_completed([one, two, plain, stale], skip_locked=skip_locked))
    ended = zip((failed, cancelled, again, other), [*endings.values(), ERROR], strict=True)
    run(conn, claims.finish_attempts(list(ended), skip_locked=skip_locked))

    notes = look("SELECT workflow_id AS flow, job_ids FROM awa.workflow_events ORDER BY id")
    assert notes == [
        {"flow": 5, "job_ids": ids[:2]},
        {"flow": 3, "job_ids": [ids[7]]},
        {"flow": 5, "job_ids": ids[4:6]},
    ]


def test_written_ends_are_found_wherever_they_are(conn, look, jobs) -> None:
    ids = jobs(5)
    claim(conn, 9, lease=7)
    failed, again, done, runs, dead = ids
    retry = SimpleNamespace(**{**vars(ERROR), "target": "retryable", "terminal": False})
    run(conn, claims.finish_attempts([(attempt(failed), ERROR), (attempt(again), retry)]))
    run(conn, claims.finish_completed([attempt(done)]))
    run(conn, claims.finish_attempts([(attempt(dead), ERROR)]))
    look(
        "WITH gone AS (DELETE FROM awa.jobs_hot WHERE id = %s RETURNING *)"
        " INSERT INTO awa.dead_letters SELECT *, 'poison' FROM gone",
        dead,
    )
    found = run(conn, claims.written_ends([(job, 7, 0) for job in ids]))

    assert sorted(found, key=lambda one: one.id) == [
        claims.Written(failed, "failed", 7, "no"),
        claims.Written(again, "retryable", 7, "no"),
        claims.Written(done, "completed", 7, None),
        claims.Written(dead, "failed", 7, "no"),
    ]
    assert run(conn, claims.written_ends([(runs, 7, 0)])) == []


def test_a_written_end_is_found_after_another_claim(conn, look, jobs) -> None:
    """By the error next to those that the job had when it was claimed."""
    (again,) = jobs(1)
    retry = SimpleNamespace(**{**vars(ERROR), "target": "retryable", "terminal": False})
    for lease in (6, 7):
        claim(conn, 1, lease=lease)
        run(conn, claims.finish_attempts([(attempt(again, lease), retry)]))
        look("UPDATE awa.scheduled_jobs SET run_at = now()")
        run(conn, maintenance.promote("promote_retryable", aside=Aside()))
    claim(conn, 1, lease=8)

    for lease, known, error in ((7, 1, "no"), (7, 2, None)):
        found = run(conn, claims.written_ends([(again, lease, known)]))
        assert found == [claims.Written(again, "running", 8, error)]
