"""One embedded server for the whole test session, and a fresh database for whoever asks.

All xdist workers share the server.  The first that needs a database builds a migrated template;
tests get clones of it.  Nothing is synced to disk: the data is deleted at the end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from awa_lib.embedded import Server, acquire, reset, status

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    # Checkpoints and vacuums of others must not fall into a test's timings.
    "autovacuum": "off",
    "max_wal_size": "256MB",
}
TEMPLATE = "awa_template"
# Not below pytest's own directory: as root that is closed to the user the server runs as.
PREFIX = "awa-tests-"
DISK = Path("/tmp")
# A clone made and dropped costs 12 ms here, and 25 to 250 on a busy disk.
MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 2_000_000_000
BASE = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        config.stash[BASE] = Path(workerinput["awa_base"])
        return
    _sweep()
    base = Path(tempfile.mkdtemp(prefix=PREFIX, dir=_place()))
    base.chmod(0o711)
    config.stash[BASE] = base


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["awa_base"] = str(node.config.stash[BASE])


def pytest_unconfigure(config: pytest.Config) -> None:
    base = config.stash.get(BASE, None)
    if base is not None and not hasattr(config, "workerinput"):
        reset(base / "pg")
        shutil.rmtree(base, ignore_errors=True)


def _place() -> Path:
    memory = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    return MEMORY if memory and shutil.disk_usage(MEMORY).free > ENOUGH_BYTES else DISK


def _sweep() -> None:
    """Delete what sessions that were killed have left."""
    for left in [*DISK.glob(f"{PREFIX}*"), *MEMORY.glob(f"{PREFIX}*")]:
        found = left.lstat()
        if found.st_uid == os.geteuid() and found.st_mtime < time.time() - 3600:
            state = status(left / "pg")
            if not (state.running or state.in_use):
                shutil.rmtree(left, ignore_errors=True)


@dataclass
class Postgres:
    """The server of this session, and an administrator's connection to it."""

    server: Server
    admin: psycopg.Connection
    left: list[str] = field(default_factory=list)

    def execute(self, text: str, **names: str) -> None:
        identifiers = {key: sql.Identifier(name) for key, name in names.items()}
        self.admin.execute(sql.SQL(text).format(**identifiers))

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """Make a database, give its URL, drop it."""
        self.drop_left()
        name = f"t_{uuid.uuid4().hex}"
        # PostgreSQL 14 has no other way than this one.
        how = " STRATEGY file_copy" if self.admin.info.server_version >= 150000 else ""
        text = "CREATE DATABASE {name} TEMPLATE {template}" + how
        self.execute(text, name=name, template=template)
        self.left.append(name)
        yield self.server.url_of(name)

    def drop_left(self) -> None:
        """Drop the databases of earlier tests.

        Not at once: closed connections take a moment to end, and PostgreSQL waits for them in
        steps of 100 ms.  The last few go with the server.
        """
        while len(self.left) > 2:
            self.execute("DROP DATABASE {name} WITH (FORCE)", name=self.left.pop(0))


@pytest.fixture(scope="session")
def scratch(request: pytest.FixtureRequest) -> Path:
    """A directory of this session that an embedded server of root's can reach."""
    return request.config.stash[BASE]


@pytest.fixture(scope="session")
def postgres(scratch: Path) -> Iterator[Postgres]:
    """The server, shared by all workers."""
    with acquire(scratch / "pg", settings=SETTINGS) as server:
        with psycopg.connect(server.url_of("postgres"), autocommit=True) as admin:
            yield Postgres(server, admin)


@pytest.fixture(scope="session")
def template(postgres: Postgres, scratch: Path) -> str:
    """The name of the migrated database that others are cloned from."""
    with (scratch / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = "SELECT 1 FROM pg_database WHERE datname = %s"
        if postgres.admin.execute(known, [TEMPLATE]).fetchone() is None:
            _build_template(postgres)
    return TEMPLATE


def _build_template(postgres: Postgres) -> None:
    from awa_lib._migrate import apply

    unfinished = f"{TEMPLATE}_unfinished"
    postgres.execute("DROP DATABASE IF EXISTS {name} WITH (FORCE)", name=unfinished)
    postgres.execute("CREATE DATABASE {name}", name=unfinished)
    with psycopg.connect(postgres.server.url_of(unfinished), autocommit=True) as conn:
        apply(conn)
        conn.execute("VACUUM ANALYZE")
    postgres.execute(
        "ALTER DATABASE {name} IS_TEMPLATE true ALLOW_CONNECTIONS false", name=unfinished
    )
    postgres.execute("ALTER DATABASE {name} RENAME TO {new}", name=unfinished, new=TEMPLATE)


@pytest.fixture
def database_url(postgres: Postgres, template: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with postgres.database(template) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """A database of this test's own without anything in it."""
    with postgres.database() as url:
        yield url
