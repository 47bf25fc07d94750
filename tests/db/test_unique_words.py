"""Unique jobs in words, delays, and debounce."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually, eventually
from fix_worker import Rows, working

import awa_lib as awa


@dataclass
class Index:
    doc: int
    text: str = ""


@pytest.fixture
def client(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        yield client


def taken(insert: Callable[[], awa.Job]) -> bool:
    try:
        insert()
    except awa.UniqueConflict:
        return True
    return False


@pytest.mark.parametrize(
    ("by", "excluded"),
    [
        ("args", ["same", "other queue"]),
        ("kind", ["same", "other args", "other queue", "other both"]),
        ("queue", ["same", "other args"]),
        (("args", "queue"), ["same"]),
    ],
)
def test_what_the_key_holds(client: awa.Client, by: Any, excluded: list[str]) -> None:
    unique = awa.Unique(by=by)
    client.insert(Index(1), unique=unique)
    others: dict[str, tuple[Index, str]] = {
        "same": (Index(1), "default"),
        "other args": (Index(2), "default"),
        "other queue": (Index(1), "q"),
        "other both": (Index(3), "q"),
    }
    found = []
    for name, (args, queue) in others.items():
        try:
            client.cancel(client.insert(args, queue=queue, unique=unique).id)
        except awa.UniqueConflict:
            found.append(name)
    assert found == excluded


def test_some_fields_of_the_args(client: awa.Client) -> None:
    unique = awa.Unique(fields=["doc"])
    client.insert(Index(1, "a"), unique=unique)
    assert taken(lambda: client.insert(Index(1, "b"), unique=unique))
    assert not taken(lambda: client.insert(Index(2, "b"), unique=unique))
    with pytest.raises(awa.ValidationError, match="is not in the args"):
        client.insert({"x": 1}, kind="index", unique=unique)


def test_words_and_numbers_make_the_same_key(client: awa.Client) -> None:
    client.insert(Index(1), unique_opts={"by_args": True, "by_queue": True})
    assert taken(lambda: client.insert(Index(1), unique=awa.Unique(by=("args", "queue"))))


@pytest.mark.parametrize(
    ("states", "holds"),
    [
        ("not_started", {"scheduled", "available", "retryable"}),
        ("not_finished", {"scheduled", "available", "retryable", "running", "waiting_external"}),
        ("any", set(awa.JobState)),
        (["running", awa.JobState.Failed], {"running", "failed"}),
    ],
)
def test_the_states_that_hold_a_key(
    client: awa.Client, database_url: str, states: Any, holds: set[str]
) -> None:
    job = client.insert(Index(1), unique=awa.Unique(states=states))
    with psycopg.connect(database_url) as conn:
        row = conn.execute(
            "SELECT array_agg(s::text) FROM unnest(enum_range(NULL::awa.job_state)) s "
            "WHERE awa.job_state_in_bitmask("
            "(SELECT unique_states FROM awa.jobs WHERE id = %s), s)",
            [job.id],
        ).fetchone()
    assert row is not None
    assert set(row[0]) == {str(state) for state in holds}


def test_a_period(client: awa.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("time.time", lambda: now)
    unique = awa.Unique(period="1h", states="any")
    client.insert(Index(1), unique=unique)
    now += 3600 - 1_000_000 % 3600 - 1
    assert taken(lambda: client.insert(Index(1), unique=unique))
    now += 1
    assert not taken(lambda: client.insert(Index(1), unique=unique))


@pytest.mark.parametrize(
    ("unique", "words"),
    [
        (awa.Unique(by="arg"), "did you mean"),
        (awa.Unique(states="unfinished"), "not_finished"),
        (awa.Unique(states=["done"]), "done"),
        (awa.Unique(period=0), "period"),
        (awa.Unique(period="often"), "90s"),
        (awa.Unique(fields=[]), "fields"),
        ({"by_args": True}, "awa_lib.Unique"),
    ],
)
def test_mistakes_say_what_to_write(client: awa.Client, unique: Any, words: str) -> None:
    with pytest.raises(awa.ValidationError) as caught:
        client.insert(Index(1), unique=unique)
    assert words in f"{caught.value} {caught.value.why} {caught.value.hint}"


def test_two_ways_at_once_are_refused(client: awa.Client) -> None:
    with pytest.raises(awa.ValidationError, match="unique and unique_opts"):
        client.insert(Index(1), unique=awa.Unique(), unique_opts={})
    with pytest.raises(awa.ValidationError, match="run_at and delay"):
        client.insert(Index(1), run_at=datetime.now(UTC), delay=5)
    with pytest.raises(awa.ValidationError, match="debounce and delay"):
        client.insert(Index(1), debounce=5, delay=5)
    with pytest.raises(awa.ValidationError, match="debounce and on_conflict"):
        client.insert(Index(1), debounce=5, on_conflict="skip")  # type: ignore[call-overload] # the point
    with pytest.raises(awa.ValidationError, match="max_wait"):
        client.insert(Index(1), debounce=5, max_wait=4)
    with pytest.raises(awa.ValidationError, match="debounce"):
        client.insert(Index(1), max_wait=4)


def test_what_is_given_wins_over_numbers_that_are_declared(client: awa.Client) -> None:
    client.kind(Index, unique_opts={"by_args": True})
    client.insert(Index(1), unique=awa.Unique(by="kind"))
    assert taken(lambda: client.insert(Index(2), unique=awa.Unique(by="kind")))
    assert not taken(lambda: client.insert(Index(2)))


# -- delay ------------------------------------------------------------------------------------


def due_in(client: awa.Client, job: awa.Job) -> float:
    stored = client.get_job(job.id)
    assert (stored.run_at, stored.state) == (job.run_at, job.state)
    seconds = datetime.fromisoformat(job.run_at) - datetime.fromisoformat(job.created_at)
    return seconds.total_seconds()


@pytest.mark.parametrize("delay", [90, 90.0, "90s", "1m30s", timedelta(seconds=90)])
def test_a_delay_counts_from_the_insert(client: awa.Client, delay: Any) -> None:
    job = client.insert(Index(1), delay=delay)
    assert (due_in(client, job), job.state) == (90, "scheduled")


def test_a_delay_of_nothing_is_now(client: awa.Client) -> None:
    job = client.insert(Index(1), delay=0)
    assert (due_in(client, job), job.state) == (0, "available")


@pytest.mark.parametrize("how", ["insert_many", "insert_many_copy"])
def test_delays_of_many(client: awa.Client, how: str) -> None:
    insert = getattr(client, how)
    jobs = insert([Index(n) for n in range(3)], delay=60)
    mixed = insert(
        [Index(1), awa.NewJob(Index(2), delay=7), awa.NewJob(Index(3), run_at="2020-01-01T00:00:00Z")],
        delay=60,
        unique=awa.Unique(by="args", states="not_started"),
    )  # fmt: skip
    many = client.insert_many_copy([Index(n) for n in range(1200)], delay=60)
    assert {due_in(client, job) for job in [*jobs, many[0]]} == {60}
    assert [due_in(client, job) for job in mixed[:2]] == [60, 7]
    assert mixed[2].state == "available"
    skipped = insert(
        [awa.NewJob(Index(2), delay=7), awa.NewJob(Index(9), delay=8)],
        unique=awa.Unique(by="args", states="not_started"),
        on_conflict="skip",
    )
    assert [due_in(client, job) for job in skipped] == [8]


@pytest.mark.parametrize("delay", [-1, "soon", True, float("nan"), 1e12])
def test_no_delay(client: awa.Client, delay: Any) -> None:
    with pytest.raises(awa.ValidationError, match="delay"):
        client.insert(Index(1), delay=delay)


async def test_a_delay_of_a_shared_insert(database_url: str) -> None:
    async with awa.AsyncClient(database_url) as client:
        job = await client.enqueue(Index(1), delay="5m")
        assert job.state == "scheduled"


# -- debounce ---------------------------------------------------------------------------------


async def test_the_last_of_several_runs_once(database_url: str, rows: Rows) -> None:
    ran: list[str] = []
    async with awa.AsyncClient(database_url) as client:

        @client.task(Index)
        async def index(job: awa.Job) -> None:
            ran.append(job.args.text)

        async with working(client):
            for text in ("a", "ab", "abc"):  # the worker is idle and would run the first at once
                last = await client.insert(
                    Index(1, text), unique=awa.Unique(fields=["doc"]), debounce=0.4
                )
            await aeventually(lambda: rows.states() == {"completed": 1})
            assert ran == ["abc"]
            again = await client.insert(
                Index(1, "new"), unique=awa.Unique(fields=["doc"]), debounce=0.1
            )
            assert again.id != last.id
            await aeventually(lambda: rows.states() == {"completed": 2})
    assert ran == ["abc", "new"]


def test_each_insert_puts_it_off_until_the_longest_wait(client: awa.Client) -> None:
    first = client.insert(Index(1), debounce=60, max_wait="90s")
    assert due_in(client, first) == 60
    later = client.insert(Index(1), debounce=60, max_wait="90s")
    assert later.id == first.id
    assert 60 < due_in(client, later) < 90
    last = client.insert(Index(1), debounce=80, max_wait=80)
    assert due_in(client, last) == 80


def test_a_wait_that_is_over_is_over(client: awa.Client, database_url: str) -> None:
    client.insert(Index(1), debounce=60, max_wait=90)
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE awa.scheduled_jobs SET created_at = created_at - interval '1 hour'")
    assert client.insert(Index(1), debounce=60, max_wait=90).state == "available"


def test_a_job_that_has_started_is_followed_by_another(
    client: awa.Client, database_url: str
) -> None:
    first = client.insert(Index(1), debounce=0)
    with psycopg.connect(database_url) as conn:
        conn.execute("UPDATE awa.jobs_hot SET state = 'running', attempt = 1, run_lease = 1")
    second = client.insert(Index(1), debounce=60)
    assert second.id != first.id


def test_debounce_of_a_declared_kind(client: awa.Client) -> None:
    client.kind(Index, queue="index", unique=awa.Unique(by="kind", states="any"))
    first = client.insert(Index(1), debounce=60)
    second = client.insert(Index(2), debounce=60)
    assert (second.id, second.args, second.queue) == (first.id, Index(2), "index")
    assert client.get_job(first.id).args == {"doc": 2, "text": ""}


def test_a_holder_that_starts_between_the_statements_is_no_error(
    client: awa.Client, database_url: str
) -> None:
    """The holder is read, then a worker claims it, then it cannot be replaced any more."""
    first = client.insert(Index(1), debounce=0)
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.jobs_hot WHERE id = %s FOR UPDATE", [first.id])
        made: list[awa.Job] = []
        insert = threading.Thread(target=lambda: made.append(client.insert(Index(1), debounce=60)))
        insert.start()
        with psycopg.connect(database_url, autocommit=True) as look:
            eventually(
                lambda: look.execute(
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                    "AND datname = current_database()"
                ).fetchone()
            )
        other.execute("UPDATE awa.jobs_hot SET state = 'running', attempt = 1, run_lease = 1")
        other.commit()
        insert.join(10)
    assert [job.id != first.id for job in made] == [True]
