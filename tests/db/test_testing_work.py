"""Running jobs in a test: both clients, the handlers of an app's client."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

import awa_lib as awa
from awa_lib import testing


@dataclass
class Mail:
    to: str


@pytest.fixture
def app():
    """A client whose handlers are run; it never connects."""
    return awa.AsyncClient("postgresql:///nowhere")


@pytest.fixture
def call(client):
    """Call a helper on the client of the flavour."""

    async def call(helper, *args, **options):
        result = helper(client.inner, *args, **options)
        return await result if inspect.isawaitable(result) else result

    return call


async def test_work_one_runs_the_next_job_and_says_what_became_of_it(client, app, call) -> None:
    seen = []

    @app.task(Mail)
    async def mail(job):
        seen.append((job.args, job.attempt, job.state))

    await client.insert(Mail("late"), priority=3)
    await client.insert(Mail("first"), queue="other", priority=1, tags=["a"])
    result = await call(testing.work_one, worker=app)

    assert seen == [(Mail("first"), 1, awa.JobState.Running)]
    assert (result.outcome, result.error, result.is_completed()) == ("completed", None, True)
    row = result.job
    assert (row.kind, row.queue, row.args, row.tags) == ("mail", "other", {"to": "first"}, ["a"])
    assert (row.attempt, row.state) == (1, "completed")


@pytest.mark.parametrize(
    ("raised", "outcome", "error"),
    [
        (ValueError("no"), "retryable", "ValueError: no"),
        (awa.TerminalError("x"), "failed", "TerminalError: x"),
    ],
)
async def test_an_error_is_recorded_as_in_the_worker(
    client, app, call, raised, outcome, error
) -> None:
    @app.task(Mail)
    def mail(job):
        raise raised

    job = await client.insert(Mail("a"))
    result = await call(testing.work_one, worker=app)

    assert (result.outcome, result.error.splitlines()[0]) == (outcome, error)
    (entry,) = (await client.get_job(job.id)).errors
    assert entry["attempt"] == 1


async def test_the_last_attempt_fails(client, app, call) -> None:
    @app.task(Mail)
    def mail(job):
        raise ValueError("no")

    await client.insert(Mail("a"), max_attempts=1)

    assert (await call(testing.work_one, worker=app)).is_failed()


@pytest.mark.parametrize("kind", [None, "mail"])
async def test_the_backoff_of_the_queue_holds(client, app, call, kind) -> None:
    app.queue("post", backoff=awa.fixed(3600))

    @app.task(Mail, queue="post")
    def mail(job):
        raise ValueError("no")

    job = await client.insert(Mail("a"), queue="post")
    assert (await call(testing.work_one, worker=app, kind=kind)).is_retryable()

    due = datetime.fromisoformat((await client.get_job(job.id)).run_at)
    assert timedelta(minutes=50) < due - datetime.now(UTC) < timedelta(minutes=61)


@pytest.mark.parametrize(
    ("returned", "check", "state", "attempt"),
    [
        (awa.RetryAfter(9), "is_retryable", "retryable", 1),
        (awa.Snooze(9), "is_snoozed", "scheduled", 0),
        (awa.Cancel("why"), "is_cancelled", "cancelled", 1),
        (None, "is_completed", "completed", 1),
    ],
)
async def test_results(client, app, call, returned, check, state, attempt) -> None:
    @app.task(Mail)
    async def mail(job):
        return returned

    await client.insert(Mail("a"))
    result = await call(testing.work_one, worker=app)

    assert getattr(result, check)()
    assert (result.job.state, result.job.attempt) == (state, attempt)


async def test_args_that_do_not_fit_fail_for_good(client, app, call) -> None:
    @app.task(Mail)
    async def mail(job): ...

    await client.insert({"wrong": 1}, kind="mail")
    result = await call(testing.work_one, worker=app)

    assert result.is_failed()
    assert result.error == "ValidationError: args.to: missing, Mail needs it"


async def test_progress_works_in_both_sorts_of_handlers(client, app, call, look) -> None:
    @app.task(Mail)
    async def mail(job):
        job.set_progress(10)
        await job.flush_progress()
        job.set_progress(20, "two")
        raise ValueError

    @app.task(dict, kind="plain")
    def plain(job):
        job.update_metadata({"page": 7})
        job.flush_progress_sync()
        (row,) = look("SELECT progress FROM awa.jobs WHERE id = %s", job.id)
        assert row["progress"] == {"metadata": {"page": 7}}

    first = await client.insert(Mail("a"))
    await client.insert({}, kind="plain")
    await call(testing.work_one, worker=app)
    second = await call(testing.work_one, worker=app)

    assert (await client.get_job(first.id)).progress == {"percent": 20, "message": "two"}
    assert second.is_completed(), second.error


async def test_queue_and_kind_narrow_and_pauses_hold(client, app, call) -> None:
    @app.task(Mail)
    async def mail(job): ...

    await client.insert(Mail("a"), queue="q")
    await client.insert({}, kind="foreign")

    assert (await call(testing.work_one, queue="default", worker=app)).job is testing.NoJob
    await client.pause_queue("q")
    assert (await call(testing.work_one, worker=app)).is_no_job()
    await client.resume_queue("q")
    assert (await call(testing.work_one, queue="q", kind="mail", worker=app)).is_completed()
    assert not testing.NoJob


@pytest.mark.parametrize(
    ("helper", "options", "sentence"),
    [
        ("work_one", {"queue": 7}, "queue must be text: 7"),
        ("work_one", {"kind": "nope"}, "no handler is registered for kind 'nope'"),
        ("work_one", {"kind": 7}, "no handler is registered for kind 7"),
        ("drain", {"queue": 7}, "queue must be text: 7"),
        ("drain", {"limit": 0}, "limit must be a whole number from 1 on: 0"),
        ("drain", {"limit": True}, "limit must be a whole number from 1 on: True"),
        ("drain", {"limit": "2"}, "limit must be a whole number from 1 on: '2'"),
        ("drain", {"worker": "app"}, "str has no handlers"),
    ],
)
async def test_bad_options_are_refused_and_nothing_runs(
    client, app, call, helper, options, sentence
) -> None:
    @app.task(Mail)
    async def mail(job): ...

    job = await client.insert(Mail("a"))
    with pytest.raises(awa.ValidationError) as caught:
        await call(getattr(testing, helper), **{"worker": app, **options})

    assert str(caught.value) == sentence
    assert (await client.get_job(job.id)).attempt == 0


async def test_no_handler_is_an_error(client, app, call) -> None:
    with pytest.raises(awa.ValidationError, match="no handler"):
        await call(testing.work_one, worker=app)
    with pytest.raises(awa.ValidationError, match=r"Client has no handlers|no handler is"):
        await call(testing.work_one)
    with pytest.raises(awa.ValidationError, match="expected a Client or an AsyncClient, got str"):
        testing.work_one("postgresql://")


async def test_drain_works_what_handlers_enqueue_too_and_counts(client, app, call) -> None:
    order = []

    @app.task(Mail)
    async def mail(job):
        order.append(job.args.to)
        if job.args.to == "a":
            await client.insert(Mail("c"))
        if job.args.to == "b":
            raise ValueError("b")

    await client.insert(Mail("b"))
    await client.insert(Mail("a"), priority=1)
    await client.insert(Mail("later"), run_at=datetime.now(UTC) + timedelta(hours=1))
    drained = await call(testing.drain, worker=app)

    assert order == ["a", "b", "c"]
    assert drained == testing.Drained(completed=2, retryable=1)
    assert drained.total == 3


async def test_drain_stops_at_its_limit(client, app, call) -> None:
    @app.task(Mail)
    async def mail(job): ...

    await client.insert_many([Mail("a"), Mail("b"), Mail("c")])

    assert (await call(testing.drain, limit=2, worker=app)).total == 2
    assert (await call(testing.drain, queue="none", worker=app)).total == 0
    assert (await call(testing.drain, worker=app)).total == 1


async def test_drain_raises_the_handlers_own_error_once_recorded(client, app, call) -> None:
    boom = KeyError("boom")

    @app.task(Mail)
    def mail(job):
        raise boom

    job = await client.insert(Mail("a"))
    with pytest.raises(KeyError) as caught:
        await call(testing.drain, raise_errors=True, worker=app)

    assert caught.value is boom
    assert (await client.get_job(job.id)).state == awa.JobState.Retryable


async def test_travel_makes_waiting_jobs_due(client, app, call) -> None:
    @app.task(Mail)
    async def mail(job):
        if job.attempt == 1:
            raise ValueError

    now = datetime.now(UTC)
    await client.insert(Mail("a"), run_at=now + timedelta(hours=1))
    await client.insert(Mail("b"), run_at=now + timedelta(hours=3))

    assert await call(testing.travel, 3500) == 0
    assert await call(testing.travel, 101) == 1
    assert (await call(testing.work_one, worker=app)).is_retryable()
    assert await call(testing.travel, to=datetime.now(UTC) + timedelta(hours=3)) == 2
    assert (await call(testing.drain, worker=app)) == testing.Drained(completed=1, retryable=1)


async def test_travel_fires_schedules_on_the_way(client, app, call, look) -> None:
    app.periodic("daily", "0 9 * * *", Mail, Mail("a"), timezone="Europe/Paris")
    app.periodic("hourly", "0 * * * *", Mail, Mail("b"), queue="h")
    count = (
        "SELECT metadata ->> 'cron_name' AS n, count(*) AS jobs FROM awa.jobs GROUP BY 1 ORDER BY 1"
    )
    day = timedelta(days=1).total_seconds()

    assert await call(testing.travel, day, worker=app) == 25
    assert await call(testing.travel, day, worker=app) == 25
    assert look(count) == [{"n": "daily", "jobs": 2}, {"n": "hourly", "jobs": 48}]
    (fires,) = look(
        "SELECT count(DISTINCT metadata ->> 'cron_fire_time') AS n FROM awa.jobs WHERE queue = 'h'"
    )
    assert fires == {"n": 48}


async def test_paused_schedules_do_not_fire(client, app, call) -> None:
    app.periodic("hourly", "0 * * * *", Mail, Mail("b"))
    assert await call(testing.travel, 3600, worker=app) == 1
    await client.pause_cron_job("hourly")

    assert await call(testing.travel, 3600, worker=app) == 0


async def test_a_travel_past_a_thousand_fires_is_refused(call, app, look) -> None:
    app.periodic("often", "* * * * * *", Mail, Mail("b"))
    with pytest.raises(awa.ValidationError, match="'often' would fire more than 1,000 times"):
        await call(testing.travel, 1100, worker=app)

    assert look("SELECT 1 AS n FROM awa.jobs UNION ALL SELECT 2 FROM awa.cron_jobs") == []


@pytest.mark.parametrize(
    ("args", "options", "sentence"),
    [
        ((), {}, "give either seconds or to"),
        ((1,), {"to": datetime(2099, 1, 1, tzinfo=UTC)}, "give either seconds or to"),
        ((-1,), {}, "seconds must be a number from 0 to 3150000000: -1"),
        ((float("nan"),), {}, "seconds must be a number from 0 to 3150000000: nan"),
        (("1",), {}, "seconds must be a number from 0 to 3150000000: '1'"),
        ((), {"to": "2099"}, "to must be a datetime with an offset: '2099'"),
        (
            (),
            {"to": datetime(2020, 1, 1, tzinfo=UTC)},
            "to is in the past: 2020-01-01T00:00:00+00:00",
        ),
    ],
)
async def test_bad_travels_move_nothing(client, call, look, args, options, sentence) -> None:
    await client.insert(Mail("a"), run_at=datetime.now(UTC) + timedelta(hours=1))
    before = look("SELECT * FROM awa.jobs")
    with pytest.raises(awa.ValidationError) as caught:
        await call(testing.travel, *args, **options)

    assert str(caught.value) == sentence
    assert look("SELECT * FROM awa.jobs") == before


async def test_inline_runs_jobs_inside_the_insert(client, app) -> None:
    seen = []

    @app.task(Mail)
    async def mail(job):
        seen.append(job.args.to)

    with testing.inline(client.inner, worker=app):
        done = await client.insert(Mail("a"))
        many = await client.insert_many([Mail("b"), Mail("c")])
        later = await client.insert(Mail("d"), run_at=datetime.now(UTC) + timedelta(hours=1))
        foreign = await client.insert({}, kind="foreign")
        assert seen == ["a", "b", "c"]
    after = await client.insert(Mail("e"))

    states = [str(job.state) for job in [done, *many, later, foreign, after]]
    assert states == ["completed"] * 3 + ["scheduled", "available", "available"]
    assert seen == ["a", "b", "c"]


async def test_inline_stays_in_the_callers_transaction(client, app, look, database_url) -> None:
    seen = []

    @app.task(Mail)
    def mail(job):
        seen.append(job.args.to)

    with testing.inline(client.inner, worker=app):
        with pytest.raises(ZeroDivisionError):
            async with client.transaction() as tx:
                assert (await tx.insert(Mail("a"))).state == awa.JobState.Completed
                1 / 0
        async with client.using(database_url, autocommit=False) as (conn, bound):
            assert (await bound.insert(Mail("b"))).state == awa.JobState.Completed
            await conn.rollback()

    assert seen == ["a", "b"]
    assert look("SELECT * FROM awa.jobs") == []


async def test_inline_raises_on_request(client, app, look) -> None:
    @app.task(Mail)
    def mail(job):
        raise KeyError("boom")

    with testing.inline(client.inner, worker=app):
        assert (await client.insert(Mail("a"))).state == awa.JobState.Retryable
    with testing.inline(client.inner, worker=app, raise_errors=True), pytest.raises(KeyError):
        await client.insert(Mail("b"))

    assert [row["state"] for row in look("SELECT state FROM awa.jobs")] == ["retryable"] * 2


async def test_results_are_kept_as_a_worker_keeps_them(client, app, call) -> None:
    @app.task(Mail, result=True)
    async def mail(job: awa.Job[Mail]) -> Mail:
        if job.args.to == "waits":
            # No other job runs while this one waits, so that the wait would never end.
            other = await call_in_handler(Mail("other"))
            await client.result(other, timeout=5)
        return Mail(f"sent to {job.args.to}")

    async def call_in_handler(args: Mail) -> int:
        return (await client.insert(args, queue="later")).id

    job = await client.insert(Mail("ann"))
    await call(testing.work_one, worker=app)
    assert await client.result(job, into=Mail, timeout=0) == Mail("sent to ann")

    waiting = await client.insert(Mail("waits"), max_attempts=1)
    await call(testing.work_one, worker=app, queue="default")
    with pytest.raises(awa.JobFailed) as failed:
        await client.result(waiting, timeout=0)
    assert failed.value.error_type == "awa_lib.errors.WouldDeadlock"
