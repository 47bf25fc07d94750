"""Promotion while the server is slow to commit notifications."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fix_own_server import OwnServer
from fix_wait import eventually

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.maintenance import promote


@pytest.fixture
def server(scratch: Path) -> Iterator[OwnServer]:
    """A server whose commits wait for a standby that never comes, unless they do not ask for it."""
    made = OwnServer(scratch / "slow-commits")
    try:
        with awa.Client(made.url) as client:
            client.migrate()
        with psycopg.connect(made.url, autocommit=True) as conn:
            conn.execute("ALTER DATABASE awa SET synchronous_commit = 'local'")
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            conn.execute("SELECT pg_reload_conf()")
        yield made
    finally:
        made.stop()
        shutil.rmtree(made.place)


def test_a_promotion_waits_for_other_commits_of_notifications(server: OwnServer) -> None:
    """The server commits notifications one at a time: that is no lock of somebody's."""
    with awa.Client(server.url) as client:
        client.insert({}, kind="k", run_at="2999-01-01T00:00:00Z")
    with (
        psycopg.connect(server.url, autocommit=True) as slow,
        psycopg.connect(server.url, autocommit=True) as leader,
        psycopg.connect(server.url, autocommit=True) as look,
    ):
        look.execute("UPDATE awa.scheduled_jobs SET run_at = now() - interval '1 s'")
        slow.execute("SET synchronous_commit = on")
        committing = threading.Thread(
            target=slow.execute, args=["CREATE TABLE slow (); NOTIFY slow"]
        )
        committing.start()
        try:
            eventually(lambda: waits(look, slow) == "SyncRep")
            promoted: list[int] = []
            promoting = threading.Thread(
                target=lambda: promoted.append(run(leader, promote("promote_scheduled")))
            )
            promoting.start()
            eventually(lambda: waits(look, leader) == "object")
            # Longer than the promotion waits for the row of somebody.
            promoting.join(1)
        finally:
            look.execute("SELECT pg_cancel_backend(%s)", [slow.info.backend_pid])
            committing.join(20)
        promoting.join(20)

    assert promoted == [1]


def waits(look: psycopg.Connection, who: psycopg.Connection) -> str | None:
    row = look.execute(
        "SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [who.info.backend_pid]
    ).fetchone()
    return row and row[0]
