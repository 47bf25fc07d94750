"""The databases of the tests: those of the library's own pytest plugin, under short names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from awa_lib.testing import _paths, plugin
from awa_lib.testing._databases import Postgres


@pytest.fixture(scope="session")
def scratch(request: pytest.FixtureRequest) -> Path:
    """A directory of this session that an embedded server of root's can reach."""
    return _paths.make(request.config.stash[plugin._RUN])


@pytest.fixture(scope="session")
def postgres(awa_postgres: Postgres) -> Postgres:
    """The server, shared by all workers."""
    return awa_postgres


@pytest.fixture(scope="session")
def template(awa_template: str) -> str:
    """The name of the migrated database that others are cloned from."""
    return awa_template


@pytest.fixture
def database_url(awa_database_url: str) -> str:
    """A migrated database of this test's own."""
    return awa_database_url


@pytest.fixture
def empty_database_url(postgres: Postgres) -> Iterator[str]:
    """A database of this test's own without anything in it."""
    with postgres.database() as url:
        yield url
