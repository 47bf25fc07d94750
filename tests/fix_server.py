"""A server as people run it: durable, with autovacuum, roles and slots of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fix_wait import eventually
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from awa_lib.embedded import acquire
from awa_lib.embedded.account import server_account
from awa_lib.embedded.binaries import reachable_binaries
from awa_lib.testing._databases import Postgres

SETTINGS = {
    "max_connections": "30",
    "max_prepared_transactions": "2",
    "wal_level": "logical",
    # Vacuums when a test says so, and not before.
    "autovacuum_naptime": "1h",
}


@pytest.fixture(scope="session")
def sound(scratch: Path, worker_id: str) -> Iterator[Postgres]:
    """The server, for this process alone."""
    with (
        acquire(scratch / f"sound-{worker_id}", settings=SETTINGS) as server,
        psycopg.connect(server.url_of("postgres"), autocommit=True) as admin,
    ):
        postgres = Postgres("sound", server.url_of, admin)
        postgres.copy_in_the_kernel()
        yield postgres


@pytest.fixture
def sound_url(sound: Postgres) -> Iterator[str]:
    """A migrated database of this test's own on it."""
    with sound.database(sound.template()) as url:
        yield url


@pytest.fixture
def standby_url(sound: Postgres, sound_url: str, scratch: Path) -> Iterator[str]:
    """The same database on a standby that tells its primary what it reads."""
    account = server_account()
    programs = reachable_binaries(account)
    primary = sound.url_of("postgres")
    place = Path(tempfile.mkdtemp(prefix="standby-", dir=scratch))
    shutil.chown(place, account.uid)
    data = place / "data"
    subprocess.run(
        [programs.program("pg_basebackup"), "-d", primary, "-D", data, "-R", "-c", "fast"],
        check=True, **account.switch,
    )  # fmt: skip
    settings = SETTINGS | {
        "unix_socket_directories": str(place), "listen_addresses": "",
        "hot_standby_feedback": "on", "wal_receiver_status_interval": "1s",
    }  # fmt: skip
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        [programs.program("postgres"), "-D", data, *options],
        stderr=subprocess.DEVNULL, **account.switch,
    )  # fmt: skip
    url = make_conninfo(sound_url, host=str(place))

    def answers() -> bool:
        with psycopg.connect(url) as conn:
            return conn.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)

    try:
        eventually(answers, timeout=30)
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        shutil.rmtree(place)


@pytest.fixture
def pooled_url(sound_url: str) -> Iterator[str]:
    """The same database through a transaction pooler, where one is installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    server = conninfo_to_dict(sound_url)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    place = Path(str(server["host"]))
    # Who may connect to the socket of the server; root must not be.
    owner = place.owner()
    folder = Path(tempfile.mkdtemp(prefix="awa-pooler-"))
    settings = folder / "pooler.ini"
    settings.write_text(
        f"[databases]\n* = host={place} port={server['port']} user={server['user']}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n"
        f"ignore_startup_parameters = extra_float_digits\nlogfile = {folder}/log\n"
    )
    settings.chmod(0o644)
    shutil.chown(folder, owner)
    as_owner = ["-u", owner] if os.geteuid() == 0 else []
    process = subprocess.Popen([program, "-q", *as_owner, str(settings)])
    url = make_conninfo(
        host="127.0.0.1", port=port, dbname=server["dbname"], user=server["user"]
    )  # fmt: skip

    def answers() -> bool:
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as conn:
            return conn.execute("SELECT true").fetchone() == (True,)

    try:
        eventually(answers)
        yield url
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)
