"""What our errors do to the caller's transaction: marks, isolation, two phases, encodings."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

import psycopg
import pytest
from fix_bridge import django_connection
from psycopg.conninfo import make_conninfo

import awa_lib as awa

IDLE_IN_TRANSACTION = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND state = 'idle in transaction'"
)


def numbers(look) -> list[int]:
    return [row["n"] for row in look("SELECT n FROM mine ORDER BY n")]


# -- Django


@pytest.fixture
def django(database_url, look):
    look("CREATE TABLE mine (n int)")
    connection = django_connection(database_url)
    yield connection
    connection.close()


def execute(connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


MISSES = [
    lambda client: client.get_job(12345),
    lambda client: client.cancel(12345),
    lambda client: client.insert({}, kind="k", priority=99),
    lambda client: client.insert_many([{"n": 1}] * 2, kind="u", unique_opts={}),
]


@pytest.mark.parametrize("miss", MISSES)
def test_a_transaction_marked_for_rollback_stays_marked(django, look, miss) -> None:
    from django.db import transaction

    with transaction.atomic():
        execute(django, "INSERT INTO mine VALUES (1)")
        transaction.set_rollback(True)
        with pytest.raises(awa.AwaError):
            miss(awa.Client("embedded:").using(django))
    assert numbers(look) == []


def test_an_inner_block_that_failed_keeps_its_mark(django, look) -> None:
    from django.db import transaction

    with transaction.atomic():
        with suppress(ZeroDivisionError), transaction.atomic(savepoint=False):
            execute(django, "INSERT INTO mine VALUES (1)")
            raise ZeroDivisionError
        with pytest.raises(awa.AwaError, match="can only be rolled back"):
            awa.Client("embedded:").using(django).cancel(12345)
    assert numbers(look) == []


def test_what_would_be_lost_without_an_error_is_refused(django, look) -> None:
    from django.db import transaction

    client = awa.Client("embedded:").using(django)
    with transaction.atomic():
        client.insert({}, kind="before")
        transaction.set_rollback(True)
        with pytest.raises(awa.AwaError, match="can only be rolled back"):
            client.insert({}, kind="after")
        with pytest.raises(awa.AwaError, match="can only be rolled back"):
            with client.workflow("after") as flow:
                flow.add({}, kind="after")
    client.insert({}, kind="outside")
    assert [row["kind"] for row in look("SELECT kind FROM awa.jobs ORDER BY id")] == ["outside"]


@pytest.mark.parametrize("miss", MISSES[:3])
def test_errors_that_hurt_no_transaction_leave_no_mark(django, look, miss) -> None:
    from django.db import transaction

    with transaction.atomic():
        execute(django, "INSERT INTO mine VALUES (1)")
        with pytest.raises(awa.AwaError):
            miss(awa.Client("embedded:").using(django))
        assert (django.needs_rollback, django.errors_occurred) == (False, False)
    assert numbers(look) == [1]


def test_a_savepoint_of_djangos_takes_a_conflict_back(django, look) -> None:
    from django.db import transaction

    client = awa.Client("embedded:").using(django)
    with transaction.atomic():
        execute(django, "INSERT INTO mine VALUES (1)")
        with pytest.raises(awa.UniqueConflict), transaction.atomic():
            client.insert_many([{"n": 1}] * 2, kind="u", unique_opts={})
        client.insert({}, kind="after")
    assert numbers(look) == [1]
    assert look("SELECT kind FROM awa.jobs") == [{"kind": "after"}]


def test_django_drops_a_connection_that_was_lost(django, look) -> None:
    from django.db import transaction

    client = awa.Client("embedded:").using(django)
    with suppress(Exception), transaction.atomic():
        execute(django, "INSERT INTO mine VALUES (1)")
        look(IDLE_IN_TRANSACTION)
        with pytest.raises(awa.Unavailable):
            client.insert({}, kind="k")
        assert (django.needs_rollback, django.errors_occurred) == (True, True)
    django.close_if_unusable_or_obsolete()  # as at the end of a request
    client.insert({}, kind="after")

    assert numbers(look) == []
    assert look("SELECT kind FROM awa.jobs") == [{"kind": "after"}]


def test_django_connections_stay_in_their_thread(django) -> None:
    from django.db.utils import DatabaseError

    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            awa.Client("embedded:").using(django).insert({}, kind="k")
        except BaseException as error:
            caught.append(error)

    django.ensure_connection()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert [type(error) for error in caught] == [DatabaseError]


# -- SQLAlchemy


@pytest.fixture
def engine(database_url, look):
    from sqlalchemy import create_engine

    look("CREATE TABLE mine (n int)")
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(database_url), pool_size=1,
        max_overflow=0,
    )  # fmt: skip
    yield engine
    engine.dispose()


def test_sqlalchemy_savepoint_that_was_rolled_back_is_refused(engine, look) -> None:
    from sqlalchemy.exc import InvalidRequestError

    with engine.begin() as conn:
        client = awa.Client("embedded:").using(conn)
        with suppress(InvalidRequestError), conn.begin_nested() as nested:
            nested.rollback()
            with pytest.raises(InvalidRequestError):
                client.insert({}, kind="k")
        client.insert({}, kind="after")
    assert look("SELECT kind FROM awa.jobs") == [{"kind": "after"}]


def test_sqlalchemy_session_whose_flush_failed_is_refused(engine, look) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import PendingRollbackError
    from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
    from sqlalchemy.types import Integer

    class Base(DeclarativeBase):
        pass

    class Mine(Base):
        __tablename__ = "mine"
        n = mapped_column(Integer, primary_key=True)

    look("ALTER TABLE mine ADD PRIMARY KEY (n)")
    with Session(engine) as session:
        session.execute(text("INSERT INTO mine VALUES (1)"))
        session.add(Mine(n=1))
        with pytest.raises(Exception, match="duplicate key"):
            session.flush()
        with pytest.raises(PendingRollbackError):
            awa.Client("embedded:").using(session).insert({}, kind="k")
        session.rollback()
        awa.Client("embedded:").using(session).insert({}, kind="after")
        session.commit()
    assert (numbers(look), look("SELECT kind FROM awa.jobs")) == ([], [{"kind": "after"}])


def test_sqlalchemy_pool_does_not_lend_a_lost_connection_again(engine, look) -> None:
    from sqlalchemy.orm import Session

    for _ in range(2):
        with Session(engine) as session:
            client = awa.Client("embedded:").using(session)
            client.insert({}, kind="gone")
            look(IDLE_IN_TRANSACTION)
            with pytest.raises(awa.Unavailable):
                client.insert({}, kind="gone")
    with Session(engine) as session:
        awa.Client("embedded:").using(session).insert({}, kind="after")
        session.commit()
    assert look("SELECT kind FROM awa.jobs") == [{"kind": "after"}]


@pytest.mark.parametrize("driver", ["psycopg", "asyncpg"])
async def test_sqlalchemy_session_whose_verb_was_cancelled_commits_nothing(
    database_url, look, driver: str
) -> None:
    from fix_bridge import lend

    look("CREATE TABLE mine (n int)")
    name = "sa-async-session" if driver == "psycopg" else "sa-asyncpg-session"
    async with lend(name, database_url) as lent:
        client = awa.AsyncClient("embedded:").using(lent.conn)
        await lent.raw("INSERT INTO mine VALUES (1)")
        look("BEGIN")
        look("LOCK TABLE awa.jobs_hot IN SHARE MODE")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.insert({}, kind="gone")
        look("ROLLBACK")
        with pytest.raises(Exception, match=r"invalid transaction|rolled back"):
            await lent.commit()
        await lent.rollback()
        await client.insert({}, kind="after")
        await lent.commit()
    assert (numbers(look), look("SELECT kind FROM awa.jobs")) == ([], [{"kind": "after"}])


# -- isolation and two phases


async def test_snapshot_that_is_too_old_is_transient(client, look, database_url) -> None:
    """The caller repeats the whole transaction."""
    job = await client.insert({}, kind="k")
    async with client.using(database_url, autocommit=False) as (conn, bound):
        await conn.execute("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        await bound.get_job(job.id)
        await client.set_priority(job.id, 1)
        with pytest.raises(awa.Transient) as caught:
            await bound.cancel(job.id)
        assert (caught.value.sqlstate, type(caught.value)) == ("40001", awa.Transient)
        await conn.rollback()
        await bound.cancel(job.id)
        await conn.commit()
    assert (await client.get_job(job.id)).state == awa.JobState.Cancelled


async def test_unique_key_taken_after_the_snapshot(client, database_url) -> None:
    async with client.using(database_url, autocommit=False) as (conn, bound):
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await bound.list_jobs()
        first = await client.insert({}, kind="u", unique_opts={})
        again = {"kind": "u", "unique_opts": {}, "on_conflict": "return_existing"}
        with pytest.raises(awa.Transient):
            await bound.insert({}, **again)
        await conn.rollback()
        assert (await bound.insert({}, **again)).id == first.id


async def test_read_only_transaction(client, look, database_url) -> None:
    async with client.using(database_url, autocommit=False) as (conn, bound):
        await conn.execute("SET TRANSACTION READ ONLY")
        await bound.list_jobs()
        with pytest.raises(awa.Unavailable, match="takes no changes") as caught:
            await bound.insert({}, kind="k")
    assert "the transaction is" in caught.value.why
    assert look("SELECT kind FROM awa.jobs") == []


def test_two_phases(database_url, look) -> None:
    """NOTIFY cannot be prepared; a job for later sends none."""
    if look("SHOW max_prepared_transactions") == [{"max_prepared_transactions": "0"}]:
        pytest.skip("the server takes no prepared transactions")
    conn = psycopg.connect(database_url)
    conn.tpc_begin("awa 1")
    awa.Client("embedded:").using(conn).insert({}, kind="now")
    with pytest.raises(psycopg.NotSupportedError, match="NOTIFY"):
        conn.tpc_prepare()
    conn.close()
    with psycopg.connect(database_url) as conn:
        client = awa.Client("embedded:").using(conn)
        conn.tpc_begin("awa 2")
        client.insert({}, kind="later", run_at="2999-01-01T00:00:00Z")
        conn.tpc_prepare()
        assert look("SELECT kind FROM awa.jobs") == []
        conn.tpc_commit()
    assert look("SELECT kind FROM awa.jobs") == [{"kind": "later"}]


# -- encodings


@pytest.fixture
def latin1_url(postgres):
    """A migrated database that holds Latin letters only."""
    with postgres.database() as url:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as conn:
            conn.execute(f'DROP DATABASE "{name}"')
            provider = " LOCALE_PROVIDER libc" if conn.info.server_version >= 150000 else ""
            conn.execute(
                f"CREATE DATABASE \"{name}\" ENCODING 'LATIN1' TEMPLATE template0"
                f" LC_COLLATE 'C' LC_CTYPE 'C'{provider}"
            )
        with awa.Client(url) as client:
            client.migrate()
        yield url


async def test_text_that_the_database_cannot_hold_is_its_callers_error(latin1_url) -> None:
    async with awa.AsyncClient(latin1_url) as client:
        first = asyncio.create_task(client.enqueue({"n": "é"}, kind="k"))
        await asyncio.sleep(0)
        done = await asyncio.gather(
            first, *[client.enqueue({"n": "€" if n == 3 else "é"}, kind="k") for n in range(6)],
            return_exceptions=True,
        )  # fmt: skip
        wrong = [one for one in done if isinstance(one, BaseException)]

        assert [type(one) for one in wrong] == [awa.DatabaseError]
        assert "UTF8" in str(wrong[0].hint)
        assert "€" not in f"{wrong[0]}"
        assert [job.args for job in await client.list_jobs()] == [{"n": "é"}] * 6


async def test_borrowed_connection_with_another_encoding(client, look, database_url) -> None:
    url = make_conninfo(database_url, client_encoding="LATIN1")
    async with client.using(url) as (conn, bound):
        kept = await bound.insert({"n": "é"}, kind="k")
        with pytest.raises(awa.SerializationError, match="cannot be sent over this connection"):
            await bound.insert({"n": "€"}, kind="k")
        with pytest.raises(awa.SerializationError):
            await bound.insert_many_copy([{"n": "€"}] * 1500, kind="k")
        assert (await bound.get_job(kept.id)).args == {"n": "é"}
        await conn.execute("SET client_encoding TO 'UTF8'")
        assert (await bound.insert({"n": "€"}, kind="k")).args == {"n": "€"}
    assert len(look("SELECT id FROM awa.jobs")) == 2


async def test_borrowed_connection_without_an_encoding_is_refused(client, database_url) -> None:
    url = make_conninfo(database_url, client_encoding="SQL_ASCII")
    async with client.using(url) as (_, bound):
        with pytest.raises(awa.AwaError, match="client_encoding of this connection is SQL_ASCII"):
            await bound.insert({"n": 1}, kind="k")
