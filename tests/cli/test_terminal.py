"""What only a terminal gets: pager, links, progress."""

from __future__ import annotations

import json
import threading

import psycopg
import pytest
from fix_wait import eventually

from awa_cli.invocation import Common
from awa_cli.terminal.progress import Progress

MARK = "sed s/^/PAGED/"
LINK = "\x1b]8;;https://wiki.example.org/queues/email\x1b\\email\x1b]8;;\x1b\\"


@pytest.fixture
def many(db) -> None:
    db.execute("INSERT INTO awa.jobs_hot (kind) SELECT 'k' FROM generate_series(1, 40)")


@pytest.mark.usefixtures("many")
@pytest.mark.parametrize(
    ("more", "options", "paged"),
    [
        ({"AWA_PAGER": MARK}, [], True),
        ({"PAGER": MARK}, [], True),
        ({"PAGER": "nonsense", "AWA_PAGER": MARK}, [], True),
        ({"AWA_PAGER": MARK}, ["--no-pager"], False),
        ({"AWA_PAGER": MARK, "lines": 50}, [], False),
        ({"AWA_PAGER": MARK}, ["--limit", 5], False),
        ({"AWA_PAGER": "", "PAGER": MARK}, [], False),
        ({"AWA_PAGER": "cat"}, [], False),
        ({"AWA_PAGER": "no-such-pager"}, [], False),
        ({"AWA_PAGER": "'"}, [], False),
    ],
)
def test_a_table_longer_than_the_screen_is_paged(
    terminal, database_url, more, options, paged
) -> None:
    limit = [] if options[:1] == ["--limit"] else ["--limit", 40]
    ran = terminal("job", "list", *limit, *options, url=database_url, **more)

    assert ran.status == 0
    assert ran.out.count("PAGED") == (41 if paged else 0)
    assert ran.out.count("available") == (5 if options[:1] == ["--limit"] else 40)
    assert "listed." in ran.out


@pytest.mark.usefixtures("many")
def test_a_pager_that_is_left_early_is_no_error(terminal, database_url) -> None:
    ran = terminal("job", "list", "--limit", 40, url=database_url, AWA_PAGER="head -2")

    assert (ran.status, ran.out.count("available")) == (0, 1)


@pytest.mark.usefixtures("many")
def test_a_pipe_is_not_paged(process, database_url, monkeypatch) -> None:
    monkeypatch.setenv("AWA_PAGER", MARK)

    assert "PAGED" not in process("job", "list", "--limit", 40, url=database_url).out


def test_a_declared_page_is_a_link(place, terminal, process) -> None:
    url = place().url

    assert LINK in terminal("queue", "list", url=url).out
    assert LINK in terminal("queue", "list", url=url, AWA_PAGER="cat", lines=5).out
    assert "\x1b]8" not in terminal("queue", "list", url=url, AWA_PAGER="sed s/x/x/", lines=5).out
    for off in ({"NO_COLOR": "1"}, {"TERM": "dumb"}, {"TERM": "linux"}):
        assert "\x1b]8" not in terminal("queue", "list", url=url, **off).out
    assert "\x1b" not in terminal("queue", "list", "--no-color", url=url).out
    assert "\x1b" not in process("queue", "list", url=url).out


@pytest.mark.parametrize(
    "address", ["https://x\x1b\\\x1b[2J", "javascript:alert(1)", "", "https://"]
)
def test_no_address_draws_on_the_screen(place, terminal, address) -> None:
    url = place().url
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE awa.queue_descriptors SET docs_url = %s", [address])

    out = terminal("queue", "list", url=url).out
    out += terminal("queue", "show", "email", url=url, lines=60).out

    assert "\x1b]8" not in out
    assert "\x1b[2J" not in out


def slowly(url: str, run):
    """Run a change that waits 1.5 s for a lock; it can read meanwhile."""
    with psycopg.connect(url) as blocker, psycopg.connect(url, autocommit=True) as watcher:
        blocker.execute("LOCK TABLE awa.jobs_hot IN SHARE MODE")
        waits = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND now() - query_start > interval '1.5 s' AND datname = current_database()"
        )

        def release() -> None:
            eventually(lambda: watcher.execute(waits).fetchone(), timeout=20)
            blocker.rollback()

        thread = threading.Thread(target=release)
        thread.start()
        ran = run()
        thread.join()
        return ran


def test_what_takes_over_a_second_shows_its_progress(terminal, database_url, add) -> None:
    def drain(*options: str):
        return terminal("queue", "drain", "q", "--yes", *options, url=database_url)

    add("available", queue="q")
    shown = slowly(database_url, drain)
    add("available", queue="q")
    quiet = slowly(database_url, lambda: drain("--quiet"))
    quick = drain()

    assert "\rworking, 1s\x1b[K" in shown.out
    assert shown.out.endswith("\r\x1b[KDrained 1 jobs from queue 'q'\n")
    assert quiet.out == "Drained 1 jobs from queue 'q'\n"
    assert "working" not in quick.out


def test_progress_is_a_bar_a_count_or_the_time() -> None:
    progress = Progress(Common())

    assert progress.line(65) == "working, 1m5s"
    progress.show(1200)
    assert progress.line(2) == "1,200 jobs, 600/s"
    progress.show(480, 1200)
    assert progress.line(2) == "██████████░░░░░░░░░░░░░░  40%  480 of 1,200 jobs"
    progress.show(0, 0)
    assert progress.line(2).startswith("░░░░")


@pytest.mark.parametrize("form", ["template={queue}", "csv", "yaml", "json", "ndjson"])
def test_escapes_in_data_do_not_reach_a_terminal(
    terminal, process, add, database_url, form
) -> None:
    name = "a\x1b]0;owned\x07\x9b2Jb"
    add(queue=name, args=json.dumps({"deep": [name]}))
    words = ("job", "list", "-o", form)

    shown = terminal(*words, url=database_url).out
    piped = process(*words, url=database_url).out

    assert not set("\x1b\x07\x9b") & set(shown)
    assert "owned" in shown
    if form.startswith(("template", "csv")):
        assert name in piped  # as it is: for programs


def test_a_template_may_have_escapes_of_its_own(terminal, add, database_url) -> None:
    add(queue="email")

    shown = terminal("job", "list", "-o", "template=\x1b[1m{queue}\x1b[0m", url=database_url).out

    assert "\x1b[1memail\x1b[0m" in shown
