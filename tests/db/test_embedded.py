"""The embedded server: shared, never leaked, recovered, kept, deleted."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from fix_embedded import (
    AS_ROOT,
    FAST,
    do,
    is_gone,
    is_supervised,
    leave,
    one,
    only_root,
    run_script,
    supervisor_pid,
    told,
)
from fix_wait import eventually

from awa_lib.embedded import acquire, data_dir, is_embedded, reset, status, stop

# --- names


def test_urls_name_directories(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    assert is_embedded("embedded:")
    assert is_embedded("embedded:x")
    assert not is_embedded("postgresql://localhost/embedded:")
    assert data_dir("embedded:pg") == tmp_path / "pg"
    assert data_dir("embedded:/a/b") == data_dir("embedded:///a/b") == Path("/a/b")
    assert data_dir("embedded:~/pg") == tmp_path / "home" / "pg"
    assert data_dir("embedded:") == data_dir("embedded://")


@pytest.mark.skipif(AS_ROOT or sys.platform != "linux", reason="for ordinary users on Linux")
def test_default_directory_follows_xdg(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert data_dir("embedded:") == tmp_path / "awa" / "postgres"


@only_root
def test_default_directory_of_root_is_outside_its_home() -> None:
    assert data_dir("embedded:") == Path("/var/lib/awa/postgres")


# --- life


def test_processes_that_start_cold_at_once_share_one_server(place, joining) -> None:
    clients = [joining() for _ in range(3)]
    answers = [told(process) for process in clients]

    assert len({answer["pid"] for answer in answers}) == 1
    assert one(str(answers[0]["url"]), "SELECT current_database()::text") == "awa"
    for process in clients:
        leave(process)
    eventually(lambda: is_gone(place))


def test_killed_client_leaks_nothing(place, joining) -> None:
    process = joining()
    told(process)

    process.kill()

    eventually(lambda: is_gone(place))
    assert not (place / "pg" / "postmaster.pid").exists()


def test_last_one_out_stops_it(place, joining, impatient) -> None:
    first = acquire(place, settings=FAST)
    second = joining()
    pid = told(second)["pid"]

    first.release()
    # Nothing happens that could be awaited; several times the supervisor's patience.
    time.sleep(0.6)

    assert status(place).pid == pid
    leave(second)
    eventually(lambda: is_gone(place))


def test_warm_start_keeps_rows_and_is_quick(place, impatient) -> None:
    with acquire(place, settings=FAST) as server:
        do(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
    eventually(lambda: is_gone(place))

    started = time.monotonic()
    server = acquire(place)
    seconds = time.monotonic() - started

    with server:
        assert one(server.url, "SELECT n FROM kept") == 7
        assert one(server.url, "SHOW fsync") == "on"
        assert one(server.url, "SHOW listen_addresses") == ""
    # 0.06 s on a quiet machine, 0.3 s is promised; this one may be shared.
    assert seconds < 2


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL], ids=["quit", "kill"])
def test_crashed_server_comes_back_with_its_rows(place, number) -> None:
    with acquire(place) as server:
        do(server.url, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        before = status(place).pid
        assert before is not None

        os.kill(before, number)

        eventually(lambda: status(place).pid not in {None, before})
        eventually(lambda: one(server.url, "SELECT count(*) FROM kept") == 1000)


def test_server_that_lost_its_supervisor_is_adopted(place, impatient) -> None:
    first = acquire(place, settings=FAST)
    pid = status(place).pid
    os.kill(supervisor_pid(place), signal.SIGKILL)
    eventually(lambda: not is_supervised(place))

    second = acquire(place)

    assert status(place).pid == pid
    first.release()
    second.release()
    eventually(lambda: is_gone(place))


def test_orphan_can_be_stopped(place) -> None:
    with acquire(place, settings=FAST):
        os.kill(supervisor_pid(place), signal.SIGKILL)
        eventually(lambda: not is_supervised(place))

        assert stop(place)

    assert is_gone(place)


def test_deleted_directory_takes_the_server_with_it(place) -> None:
    server = acquire(place, settings=FAST)
    pid, watcher = status(place).pid, supervisor_pid(place)

    shutil.rmtree(place)

    eventually(lambda: not any(Path(f"/proc/{number}").exists() for number in (pid, watcher)))
    server.release()


def test_forked_child_neither_keeps_nor_loses_the_lock(place) -> None:
    script = """
import os, sys, time
from awa_lib.embedded import acquire, status
server = acquire(sys.argv[1], settings={"fsync": "off"})
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.close(1)
    server.release()            # harmless: the share is the parent's
    os.write(write, b"x")
    time.sleep(60)
    os._exit(0)
os.read(read, 1)
print(child, status(sys.argv[1]).in_use, flush=True)
os.kill(os.getpid(), 9)         # the child lives on
"""
    run = run_script(script, place)
    child, in_use = run.stdout.split()
    try:
        assert in_use == "True"
        eventually(lambda: is_gone(place))
        os.kill(int(child), 0)
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_missing_database_is_made_again(place, impatient) -> None:
    with acquire(place, settings=FAST) as server:
        do(server.url_of("postgres"), "DROP DATABASE awa WITH (FORCE)")
    eventually(lambda: is_gone(place))

    with acquire(place) as server:
        assert one(server.url, "SELECT 1") == 1


# --- keep alive, stop, reset


def test_kept_server_needs_no_client_until_it_is_stopped(place, impatient) -> None:
    acquire(place, keep_alive=True, settings=FAST).release()
    time.sleep(0.6)
    state = status(place)

    assert (state.running, state.kept, state.in_use) == (True, True, False)
    assert state.version
    assert state.size_bytes > 1_000_000
    assert stop(place)
    assert not stop(place)
    assert is_gone(place)
    assert not status(place).kept


def test_stop_ends_it_under_its_clients_and_the_next_starts_it(place) -> None:
    with acquire(place, settings=FAST):
        assert stop(place)
        assert is_gone(place)
        with acquire(place) as again:
            assert one(again.url, "SELECT 1") == 1


def test_status_of_nothing_makes_nothing(place) -> None:
    state = status(place)

    assert (state.running, state.pid, state.version, state.size_bytes) == (False, None, None, 0)
    assert not stop(place)
    assert not reset(place)
    assert not place.exists()


def test_reset_deletes_what_we_made_and_no_more(place) -> None:
    acquire(place, keep_alive=True, settings=FAST).release()
    (place / "notes.txt").write_text("mine")

    assert reset(place)

    assert [path.name for path in place.iterdir()] == ["notes.txt"]
    assert not reset(place)


def test_reset_leaves_a_directory_that_was_there_before(place) -> None:
    place.mkdir(mode=0o755)
    acquire(place, keep_alive=True, settings=FAST).release()

    assert reset(place)

    assert list(place.iterdir()) == []
