"""An embedded server after crashes and restarts of its container: it starts, or says what to do."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest
from fix_embedded import FAST, do, is_gone, is_supervised, one, only_root, supervisor_pid
from fix_wait import eventually

from awa_lib.embedded import acquire, locks, reset, status, stop
from awa_lib.embedded.account import server_account
from awa_lib.embedded.binaries import reachable_binaries
from awa_lib.embedded.supervisor import is_ours, is_ready
from awa_lib.errors import EmbeddedError

# Commits survive the end of a process.
QUICK = {"fsync": "off"}


def crash(place: Path) -> None:
    """Kill supervisor and server and all its processes, as the end of a container does."""
    os.kill(supervisor_pid(place), signal.SIGKILL)
    pid = int((place / "pg" / "postmaster.pid").read_text().split("\n")[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for number in (pid, *map(int, children)):
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            pass
    eventually(lambda: not is_supervised(place))
    eventually(lambda: is_ours(pid, place / "pg") is False)


@pytest.fixture
def stranger():
    """Another process of the server's user, which may be called like a server."""
    started = []

    def start(*argv: str) -> int:
        process = subprocess.Popen(argv, **server_account().switch)
        started.append(process)
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.wait()


def believe(path: Path, pid: int) -> None:
    """Write another process's number into a lock file."""
    path.write_text("\n".join([str(pid), *path.read_text().split("\n")[1:]]))


@pytest.mark.parametrize("which", ["pid file", "socket lock", "both"])
def test_lock_files_with_the_numbers_of_others_are_not_believed(place, stranger, which) -> None:
    with acquire(place, settings=QUICK) as server:
        do(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
        crash(place)
    pid = stranger("/bin/sleep", "600")
    files = {"pid file": place / "pg/postmaster.pid", "socket lock": place / "s/.s.PGSQL.5432.lock"}
    for name, path in files.items():
        if which in {name, "both"}:
            believe(path, pid)
    (place / "supervisor.lock").write_text(f"{pid}\n")

    assert not stop(place)
    with acquire(place) as server:
        assert one(server.url, "SELECT n FROM kept") == 7
    os.kill(pid, 0)


def test_a_process_of_another_server_is_not_ours(place, stranger, tmp_path_factory) -> None:
    with acquire(place, settings=FAST) as server:
        mine = one(server.url, "SELECT pg_backend_pid()")
        postmaster = status(place).pid
        other = place.parent / "other"
        other.mkdir()

        assert is_ours(postmaster, place / "pg") is True
        assert is_ours(postmaster, other) is False
        assert is_ours(os.getpid(), place / "pg") is False
        eventually(lambda: is_ours(mine, place / "pg") is False)
    other.rmdir()


BUSY = "DO $$ BEGIN FOR i IN 1..2000000000 LOOP END LOOP; END $$"


def busy(url: str) -> None:
    """Keep a process of the server busy, so that it does not notice that it is an orphan."""

    def work() -> None:
        try:
            do(url, BUSY)
        except psycopg.OperationalError:
            pass

    threading.Thread(target=work, daemon=True).start()
    eventually(lambda: one(url, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %'"))


def test_a_busy_server_that_is_killed_comes_back(place) -> None:
    with acquire(place, settings=QUICK) as server:
        do(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
        busy(server.url)
        before = status(place).pid

        os.kill(before, signal.SIGKILL)

        eventually(lambda: status(place).pid not in {None, before}, timeout=20)
        eventually(lambda: one(server.url, "SELECT n FROM kept") == 7)


def test_what_a_killed_server_left_does_not_keep_the_next_from_starting(place) -> None:
    with acquire(place, settings=FAST) as server:
        busy(server.url)
        os.kill(supervisor_pid(place), signal.SIGKILL)
        eventually(lambda: not is_supervised(place))
        os.kill(status(place).pid, signal.SIGKILL)
        eventually(lambda: not status(place).running)

        started = time.monotonic()
        with acquire(place) as again:
            assert one(again.url, "SELECT 1") == 1
        assert time.monotonic() - started < 10


@pytest.mark.parametrize("spelt", ["as it is", "through a link"])
@pytest.mark.parametrize("use", [acquire, stop, reset])
def test_a_server_that_somebody_else_started_on_the_data_is_left_alone(
    place, stranger, impatient, use, spelt
) -> None:
    with acquire(place, settings=QUICK) as server:
        do(server.url, "CREATE TABLE kept AS SELECT 7 AS n")
    eventually(lambda: is_gone(place))
    cluster, sockets = place / "pg", place / "elsewhere"
    sockets.mkdir()
    if os.geteuid() == 0:
        shutil.chown(sockets, server_account().uid)
    if spelt == "through a link":
        cluster = place / "link"
        cluster.symlink_to(place / "pg")
    program = reachable_binaries(server_account()).program("postgres")
    pid = stranger(str(program), "-D", str(cluster), "-k", str(sockets), "-h", "", "-p", "5432")
    url = f"host={sockets} port=5432 user=postgres dbname=awa"
    eventually(lambda: is_ready(place / "pg" / "postmaster.pid"))

    with pytest.raises(EmbeddedError, match="in use by another PostgreSQL") as caught:
        use(place)

    assert str(pid) in str(caught.value.why)
    assert f"pg_ctl -D {place / 'pg'} stop" in str(caught.value.hint)
    assert one(url, "SELECT n FROM kept") == 7
    os.kill(pid, signal.SIGINT)
    eventually(lambda: not (place / "pg" / "postmaster.pid").exists())
    with acquire(place) as again:
        assert one(again.url, "SELECT n FROM kept") == 7
    for path in (place / "link", sockets):
        path.unlink() if path.is_symlink() else shutil.rmtree(path, ignore_errors=True)


def test_a_socket_that_was_deleted_is_said(place, monkeypatch) -> None:
    monkeypatch.setattr("awa_lib.embedded.server._REACH_SECONDS", 0.2)
    with acquire(place, settings=FAST):
        (place / "s" / ".s.PGSQL.5432").unlink()

        with pytest.raises(EmbeddedError, match="cannot be reached") as caught:
            acquire(place)

        assert str(caught.value.hint).startswith("stop it: awa dev down --data-dir ")
        assert stop(place)
        with acquire(place) as again:
            assert one(again.url, "SELECT 1") == 1


def test_data_without_its_beginning_is_said_and_can_be_reset(place, impatient) -> None:
    acquire(place, settings=FAST).release()
    eventually(lambda: is_gone(place))
    (place / "pg" / "PG_VERSION").write_text("")

    with pytest.raises(EmbeddedError, match="is damaged") as caught:
        acquire(place)

    assert "reset" not in str(caught.value.hint)
    assert status(place).version == "unknown"
    assert reset(place)


def test_an_empty_data_directory_is_filled(place, impatient) -> None:
    acquire(place, settings=FAST).release()
    eventually(lambda: is_gone(place))
    shutil.rmtree(place / "pg")
    (place / "pg").mkdir()

    with acquire(place, settings=FAST) as server:
        assert one(server.url, "SELECT 1") == 1


def test_a_file_system_without_locks_is_said(place, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)

    with pytest.raises(EmbeddedError, match="cannot be used in this directory") as caught:
        acquire(place)

    assert "has no file locks (No locks available)" in str(caught.value.why)
    monkeypatch.undo()


@only_root
def test_a_full_disk_is_said(place, impatient) -> None:
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m,mode=0711", "tmpfs", place],
        capture_output=True, text=True,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        acquire(place, settings=FAST).release()
        eventually(lambda: is_gone(place))
        with (place / "pg" / "ballast").open("wb") as file, pytest.raises(OSError):
            while True:
                file.write(bytes(100_000))
                file.flush()

        with pytest.raises(EmbeddedError) as caught:
            acquire(place)

        assert "free space on" in str(caught.value.hint)
        (place / "pg" / "ballast").unlink()
        with acquire(place) as server:
            assert one(server.url, "SELECT 1") == 1
        stop(place)
    finally:
        eventually(lambda: subprocess.run(["umount", place]).returncode == 0)
