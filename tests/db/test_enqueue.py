"""Every caller of ``enqueue`` gets a job or an error, whatever happens to the shared statement."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from fix_wait import aeventually

import awa_lib as awa


def flushing() -> asyncio.Task:
    return next(task for task in asyncio.all_tasks() if task.get_name() == "awa enqueue")


def waits(url: str) -> bool:
    """Return True when a statement waits for a lock."""
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ).fetchone()
    return row == (1,)


def starts(client: awa.AsyncClient, many: int) -> list[asyncio.Task]:
    return [
        asyncio.create_task(client.enqueue({"n": n}, kind="k")) for n in range(many)
    ]  # fmt: skip


async def test_enqueue_goes_on_after_its_task_was_cancelled(database_url, look) -> None:
    async with awa.AsyncClient(database_url) as client:
        await client.enqueue({"n": -1}, kind="k")
        look("BEGIN")
        look("LOCK TABLE awa.jobs_hot IN SHARE MODE")
        first = starts(client, 3)
        await aeventually(lambda: waits(database_url))
        later = starts(client, 3)
        await asyncio.sleep(0)
        flushing().cancel()
        await asyncio.wait(first, timeout=10)
        look("ROLLBACK")
        async with asyncio.timeout(10):
            done = await asyncio.gather(*first, *later, return_exceptions=True)

    assert [type(one) for one in done] == [awa.DatabaseError] * 3 + [awa.Job] * 3
    assert "cut off" in str(done[0])


async def test_enqueue_during_and_after_close(database_url, look) -> None:
    client = awa.AsyncClient(database_url, 2)
    await client.enqueue({}, kind="k")
    before = starts(client, 1500)
    await asyncio.sleep(0)
    closing = asyncio.create_task(client.close())
    await asyncio.sleep(0)
    during = starts(client, 500)
    async with asyncio.timeout(20):
        await closing
        done = await asyncio.gather(*before, *during, *starts(client, 5), return_exceptions=True)

    kept = [one for one in done if isinstance(one, awa.Job)]
    assert [type(one) for one in done[:1500]] == [awa.Job] * 1500
    assert {str(one) for one in done if not isinstance(one, awa.Job)} == {"the client is closed"}
    assert look("SELECT count(*) AS n FROM awa.jobs") == [{"n": len(kept) + 1}]


async def test_close_does_not_wait_for_ever_for_enqueue(database_url, look, monkeypatch) -> None:
    monkeypatch.setattr("awa_lib.client.batcher._CLOSE_SECONDS", 0.2)
    client = awa.AsyncClient(database_url)
    await client.enqueue({}, kind="k")
    look("BEGIN")
    look("LOCK TABLE awa.jobs_hot IN SHARE MODE")
    callers = starts(client, 3)
    await aeventually(lambda: waits(database_url))
    callers += starts(client, 2)
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await client.close()
        done = await asyncio.gather(*callers, return_exceptions=True)
    look("ROLLBACK")

    assert {type(one) for one in done} == {awa.DatabaseError}


async def test_error_of_any_class_is_its_callers_alone(database_url, monkeypatch) -> None:
    from awa_lib.client import batcher

    insert_batch = batcher.insert_batch

    def picky(new):
        if any("3" in args for args in new.args):
            raise ZeroDivisionError("no threes")
        return insert_batch(new)

    monkeypatch.setattr(batcher, "insert_batch", picky)
    async with awa.AsyncClient(database_url) as client:
        done = await asyncio.gather(*starts(client, 8), return_exceptions=True)

    assert [type(one) for one in done] == [
        ZeroDivisionError if n == 3 else awa.Job for n in range(8)
    ]


async def test_a_key_that_waits_for_a_stranger_fails_its_own_caller_only(
    database_url, look
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    look(f"ALTER DATABASE \"{name}\" SET lock_timeout = '50ms'")
    async with awa.AsyncClient(database_url) as client:
        with awa.Client(database_url) as other, other.transaction() as tx:
            tx.insert({"n": 3}, kind="u", unique_opts={})
            done = await asyncio.gather(
                *[client.enqueue({"n": n}, kind="u", unique_opts={}) for n in range(8)],
                return_exceptions=True,
            )

    assert [type(one) for one in done] == [awa.Transient if n == 3 else awa.Job for n in range(8)]


@pytest.mark.parametrize("answer", [True, False], ids=["a job", "an error"])
async def test_a_caller_that_went_away_costs_no_other_its_answer(
    database_url, look, answer: bool
) -> None:
    """It is cancelled while the statement runs that inserts its job too."""
    async with awa.AsyncClient(database_url) as client:
        await client.enqueue({"n": -1}, kind="k")
        look("BEGIN")
        look("LOCK TABLE awa.jobs_hot IN SHARE MODE")
        first, *others = starts(client, 3)
        await aeventually(lambda: waits(database_url))
        first.cancel()
        await asyncio.wait({first})
        if not answer:
            look(
                "SELECT pg_terminate_backend(pid) AS ended FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
        async with asyncio.timeout(10):
            if answer:
                look("ROLLBACK")
            done = await asyncio.gather(*others, return_exceptions=True)
        look("ROLLBACK")

    assert {type(one) for one in done} == {awa.Job if answer else awa.Unavailable}


async def test_a_batch_whose_connection_was_cut_is_not_sent_again(database_url, look) -> None:
    """Its jobs may have been committed before the cut."""
    look("CREATE SEQUENCE tries")
    look(
        "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('tries') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
        " RETURN NULL; END $$"
    )
    look(
        "CREATE TRIGGER cut BEFORE INSERT ON awa.jobs_hot FOR EACH STATEMENT EXECUTE FUNCTION cut()"
    )
    async with awa.AsyncClient(database_url) as client:
        done = await asyncio.gather(*starts(client, 4), return_exceptions=True)

    assert {type(one) for one in done} == {awa.Unavailable}
    assert look("SELECT last_value AS n FROM tries") == [{"n": 1}]
