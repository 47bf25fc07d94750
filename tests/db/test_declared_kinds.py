"""What is declared for a kind is what its jobs are inserted with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa


@dataclass
class SendEmail:
    to: str


@dataclass
class Other:
    n: int = 0


DECLARED: dict[str, Any] = {
    "queue": "email",
    "priority": 1,
    "max_attempts": 3,
    "tags": ["mail"],
    "unique_opts": {"by_args": True},
}
OF_EMAIL = ("send_email", "email", 1, 3, ["mail"])
OF_OTHER = ("other", "default", 2, 25, [])


def of(job: awa.Job) -> tuple[Any, ...]:
    return job.kind, job.queue, job.priority, job.max_attempts, job.tags


@pytest.fixture
def client(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        client.kind(SendEmail, **DECLARED)
        yield client


def test_what_is_declared_later_counts_for_the_next_insert(client: awa.Client) -> None:
    before = [of(client.insert(Other(n))) for n in range(2)]
    client.kind(Other, queue="later", max_attempts=4)

    assert before == [OF_OTHER, OF_OTHER]
    assert of(client.insert(Other(2))) == ("other", "later", 2, 4, [])
    assert of(client.insert(Other(3), queue="mine")) == ("other", "mine", 2, 4, [])


def test_a_remembered_insert_is_checked_as_the_first(client: awa.Client) -> None:
    for n in range(2):
        assert client.insert(Other(n), priority=1).priority == 1
        for wrong in (True, 1.0, 5, "1"):
            with pytest.raises(awa.ValidationError, match="priority"):
                client.insert(Other(n), priority=wrong)
        with pytest.raises(awa.ValidationError):
            client.insert(Other, priority=1)  # type: ignore[arg-type] # not args
        with pytest.raises(TypeError, match="qeue"):
            client.insert(Other(n), qeue="q")  # type: ignore[call-overload] # no such option
        # An option that cannot be a key of a dict.
        assert client.insert(Other(n), tags=["x"]).tags == ["x"]


def test_every_insert_uses_what_is_declared(client: awa.Client, database_url: str) -> None:
    def emails(name: str) -> list[SendEmail]:
        return [SendEmail(f"{name} {n}") for n in range(2)]

    jobs = [
        client.insert(SendEmail("one")),
        *client.insert_many(emails("many")),
        *client.insert_many_copy(emails("copy")),
        *client.insert_many([awa.NewJob(SendEmail("new"))]),
    ]
    with client.transaction() as tx:
        jobs += [tx.insert(SendEmail("tx")), *tx.insert_many(emails("tx many"))]
    with psycopg.connect(database_url) as conn:
        jobs += [client.using(conn).insert(SendEmail("using"))]
        jobs += [awa.Client.on(conn, kinds=client.kinds).insert(SendEmail("on"))]
    assert all(of(job) == OF_EMAIL for job in jobs)
    client.enqueue_many_copy(emails("stream"))
    assert len(client.list_jobs(queue="email", limit=100)) == len(jobs) + 2
    with pytest.raises(awa.UniqueConflict):
        client.insert(SendEmail("one"))


def test_more_jobs_than_a_statement_holds_are_copied(client: awa.Client) -> None:
    client.kind(Other, queue="others", priority=3)
    jobs = client.insert_many_copy([Other(n) for n in range(1500)])
    assert {job.queue for job in jobs} == {"others"}
    assert client.get_job(jobs[-1].id).priority == 3


def test_a_call_may_hold_several_kinds(client: awa.Client) -> None:
    jobs = client.insert_many([Other(), SendEmail("a"), awa.NewJob(Other(), queue="x")])
    assert [of(job) for job in jobs] == [OF_OTHER, OF_EMAIL, ("other", "x", 2, 25, [])]
    read = [of(client.get_job(job.id)) for job in jobs]
    assert read == [of(job) for job in jobs]


def test_what_is_given_wins(client: awa.Client) -> None:
    job = client.insert(SendEmail("a"), queue="slow", priority=4, tags=[])
    assert of(job) == ("send_email", "slow", 4, 3, [])
    (job,) = client.insert_many([awa.NewJob(SendEmail("b"), queue="own")], queue="call")
    assert of(job) == ("send_email", "own", 1, 3, ["mail"])


def test_a_kind_is_declared_by_name_too(client: awa.Client) -> None:
    client.kind(dict, kind="report", queue="reports")
    assert client.insert({"n": 1}, kind="report").queue == "reports"
    assert client.insert({"n": 1}, kind="unknown").queue == "default"


def test_a_type_with_a_kind_of_another_name(client: awa.Client) -> None:
    client.kind(Other, kind="things.other", queue="things")
    assert client.insert(Other()).kind == "things.other"
    client.kind(Other, kind="second")  # now it is not known which
    assert client.insert(Other()).kind == "other"


def test_declarations_add_up(client: awa.Client) -> None:
    client.kind(SendEmail, queue="fast")
    assert of(client.insert(SendEmail("a"))) == ("send_email", "fast", 1, 3, ["mail"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"queue": ""}, "queue"),
        ({"priority": 9}, "priority"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"tags": "mail"}, "tags"),
        ({"unique_opts": {"by": "args"}}, "unique_opts"),
    ],
)
def test_a_mistake_shows_where_it_is_declared(options: dict[str, Any], words: str) -> None:
    client = awa.AsyncClient("postgresql://nowhere")
    with pytest.raises(awa.ValidationError, match=words):
        client.kind(SendEmail, **options)
    with pytest.raises(awa.ValidationError, match=words):
        client.task(SendEmail, **options)


async def test_the_example_of_the_readme_runs(database_url: str, rows: Rows) -> None:
    ran: list[str] = []
    async with awa.AsyncClient(database_url) as client:

        @client.task(SendEmail, queue="email", max_attempts=3)
        async def send_email(job: awa.Job) -> None:
            ran.append(job.args.to)

        client.periodic("each-year", "0 0 1 1 *", Other, Other())

        @client.task(Other, queue="others", priority=3)
        async def other(job: awa.Job) -> None: ...

        @client.follow_up(SendEmail, awa.Completed)
        def after(event: awa.Completed) -> Other:
            return Other(7)

        async with working(client, ("email", 5), ("others", 5)):
            job = await client.insert(SendEmail("ada"))
            batched = await client.enqueue(SendEmail("bob"))
            assert [job.queue, batched.queue, batched.max_attempts] == ["email", "email", 3]
            await aeventually(lambda: rows.states() == {"completed": 4})
            assert sorted(ran) == ["ada", "bob"]
        assert rows.one("SELECT queue, priority FROM awa.cron_jobs") == {
            "queue": "others",
            "priority": 3,
        }
    assert {
        row["queue"] for row in rows.all("SELECT queue FROM awa.jobs WHERE kind = 'other'")
    } == {"others"}


def test_clients_share_kinds(database_url: str) -> None:
    kinds = awa.Kinds()
    kinds.declare(SendEmail, queue="email")
    worker = awa.AsyncClient(database_url, kinds=kinds)

    @worker.task(SendEmail)
    async def send_email(job: awa.Job) -> None: ...

    assert worker._handlers.queues == ["email"]
    with awa.Client(database_url, kinds=kinds) as web:
        assert web.insert(SendEmail("a")).queue == "email"
