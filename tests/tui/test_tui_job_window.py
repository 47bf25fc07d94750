"""The loaded part of a long list has no gap, in either direction, and is bounded."""

from __future__ import annotations

import psycopg
import pytest

from awa_cli.tui.job_window import MAX_ROWS, READ_ROWS, JobWindow
from awa_lib.db.drive import run

COUNT = 3000


@pytest.fixture
def conn(database_url):
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


def fill(conn, count: int = COUNT, kind: str = "a") -> None:
    conn.execute(
        "INSERT INTO awa.jobs_hot (kind, queue) SELECT %s, 'q' FROM generate_series(1, %s)",
        (kind, count),
    )


def ids(window: JobWindow) -> list[int]:
    return [row.id for row in window.rows]


def every_id(conn) -> list[int]:
    return [n for (n,) in conn.execute("SELECT id FROM awa.jobs ORDER BY id DESC")]


def test_reads_down_and_up_meet_without_a_gap(conn) -> None:
    fill(conn)
    known = every_id(conn)
    window = JobWindow({})
    run(conn, window.refresh(0, 40))
    window.hold()
    seen = set(ids(window))
    while window.more_below:
        run(conn, window.read_older())
        seen.update(ids(window))
        assert len(window.rows) <= MAX_ROWS
        start = known.index(window.rows[0].id)
        assert known[start : start + len(window.rows)] == ids(window)
    assert seen == set(known)

    while window.rows[0].id != known[0]:
        before = window.rows[0].id
        run(conn, window.read_newer())
        assert window.rows[0].id > before
        assert len(window.rows) <= MAX_ROWS
        start = known.index(window.rows[0].id)
        assert known[start : start + len(window.rows)] == ids(window)


def test_a_window_that_follows_has_the_newest(conn) -> None:
    fill(conn, 20)
    window = JobWindow({})
    run(conn, window.refresh(0, 40))
    fill(conn, 2 * READ_ROWS)
    run(conn, window.refresh(0, 40))

    assert every_id(conn)[:READ_ROWS] == ids(window)[:READ_ROWS]
    assert ids(window) == sorted(ids(window), reverse=True)
    assert window.more_below


def test_a_window_that_holds_shows_nothing_newer_and_keeps_what_is_seen_up_to_date(conn) -> None:
    fill(conn, 50)
    window = JobWindow({"states": ["available"]})
    run(conn, window.refresh(0, 40))
    window.hold()
    before = ids(window)
    fill(conn, 5)
    conn.execute(
        "UPDATE awa.jobs SET state = 'cancelled', finalized_at = now() WHERE id = %s", (before[3],)
    )
    run(conn, window.refresh(0, 40))

    assert [one for one in before if one != before[3]] == ids(window)
    run(conn, window.read_newer())
    assert window.rows[0].id == before[0]
