"""Test helpers on a connection of the test, inside its transaction."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

import awa_lib as awa
from awa_lib.testing import assert_enqueued, assert_not_enqueued, drain, inline, work_one


@dataclass
class Note:
    text: str


def test_in_test_cases_of_django(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(Path(__file__).with_name("django_cases.py"))],
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 6 tests" in done.stderr


@pytest.fixture
def session(database_url: str):
    """Join a session to an outer transaction, as SQLAlchemy's guide to tests does."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session

    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(database_url))
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(bind=connection, join_transaction_mode="create_savepoint") as session:
            yield session
        outer.rollback()
    engine.dispose()


def test_in_a_savepoint_of_sqlalchemy(session, database_url: str) -> None:
    from sqlalchemy import text

    worker = awa.AsyncClient("postgresql://nowhere.invalid/none")
    seen: list[tuple[int, int]] = []

    @worker.task(Note)
    def note(job: awa.Job[Note]) -> None:
        rows = session.execute(text("SELECT count(*) FROM notes")).scalar_one()
        seen.append((rows, threading.get_ident()))

    session.execute(text("CREATE TABLE notes (note text)"))
    session.execute(text("INSERT INTO notes VALUES ('a')"))
    jobs = awa.Client.on(session)
    assert_not_enqueued(jobs, Note)
    jobs.insert(Note("a"))
    session.commit()
    assert_enqueued(jobs, Note, count=1)
    assert work_one(jobs, worker=worker).is_completed()
    jobs.insert_many([Note("b"), Note("c")])
    assert drain(jobs, worker=worker).completed == 2
    with inline(jobs, worker=worker):
        assert jobs.insert(Note("d")).state == "completed"
    assert seen == [(1, threading.get_ident())] * 4
    session.rollback()
    with awa.Client(database_url) as other:
        assert other.list_jobs() == []


def test_an_async_handler_has_a_loop_of_its_own(database_url: str) -> None:
    worker = awa.AsyncClient("postgresql://nowhere.invalid/none")

    @worker.task(Note)
    async def note(job: awa.Job[Note]) -> None:
        raise ValueError(threading.current_thread().name)

    with awa.Client(database_url) as client:
        client.insert(Note("a"))
        result = work_one(client, worker=worker)
        assert result.outcome == "retryable"
        assert "awa test" in client.get_job(result.job.id).errors[0]["error"]


def test_a_callback_of_a_plain_handler(database_url: str) -> None:
    """A plain handler waits in the test's thread for what its own statements need there."""
    worker = awa.AsyncClient("postgresql://nowhere.invalid/none")
    with awa.Client(database_url) as client:

        @worker.task(Note)
        def note(job: awa.Job[Note]) -> None:
            token = job.register_callback_sync(60)
            client.complete_external(token.id, {"ok": True})
            assert job.wait_for_callback_sync(token) == {"ok": True}

        client.insert(Note("a"))
        assert work_one(client, worker=worker).is_completed()
