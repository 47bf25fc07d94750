"""A server as people run it: durable, with autovacuum, roles and slots of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from awa_lib.embedded import acquire
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
        yield Postgres("sound", server.url_of, admin)


@pytest.fixture
def sound_url(sound: Postgres) -> Iterator[str]:
    """A migrated database of this test's own on it."""
    with sound.database(sound.template()) as url:
        yield url
