"""The pytest plugin: fresh databases and clients on them.

pytest loads it in every run, so the fixtures import what they need.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from awa_lib.client.clients import AsyncClient, Client
    from awa_lib.testing._compat import AwaTestClient
    from awa_lib.testing._databases import Postgres

__all__: list[str] = []

_RUN = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose an id for the run; its xdist processes get the id of the first process."""
    workerinput: dict[str, str] = getattr(config, "workerinput", {})
    config.stash[_RUN] = workerinput.get("awa_run") or uuid.uuid4().hex[:8]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Pass the id of the run to an xdist process."""
    node.workerinput["awa_run"] = node.config.stash[_RUN]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the databases of the run, if a test used any."""
    run_id = config.stash.get(_RUN, None)
    if run_id is None or hasattr(config, "workerinput"):
        return
    from awa_lib.testing._paths import find

    if find(run_id) is not None:
        from awa_lib.testing._databases import clean_up

        clean_up(run_id)


@pytest.fixture(scope="session")
def awa_postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Return the server of this run, shared by all its processes."""
    from awa_lib.testing._databases import serve

    with serve(request.config.stash[_RUN]) as postgres:
        yield postgres


@pytest.fixture(scope="session")
def awa_template(awa_postgres: Postgres) -> str:
    """Return the name of the migrated template database."""
    return awa_postgres.template()


@pytest.fixture
def awa_database_url(awa_postgres: Postgres, awa_template: str) -> Iterator[str]:
    """Return the URL of a migrated database for this test."""
    with awa_postgres.database(awa_template) as url:
        yield url


@pytest.fixture
def awa_sync_client(awa_database_url: str) -> Iterator[Client]:
    """Return a blocking client on the test's database."""
    from awa_lib.client.clients import Client

    with Client(awa_database_url) as client:
        yield client


if TYPE_CHECKING:
    _async_fixture = pytest.fixture
else:
    try:
        # The decorator that works in strict mode as well.
        from pytest_asyncio import fixture as _async_fixture
    except ImportError:
        _async_fixture = pytest.fixture


@_async_fixture
async def awa_async_client(awa_database_url: str) -> AsyncIterator[AsyncClient]:
    """Return an async client on the test's database."""
    from awa_lib.client.clients import AsyncClient

    async with AsyncClient(awa_database_url) as client:
        yield client


@_async_fixture
async def awa_client(awa_async_client: AsyncClient) -> AwaTestClient:
    """Return the test client of awa 0.5, on the test's database."""
    from awa_lib.testing._compat import AwaTestClient

    return AwaTestClient(awa_async_client)
