"""The pytest plugin: fresh databases and clients on them.

pytest loads it in every run, so what it needs is imported by the fixtures.
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
    """Name the run; its processes under xdist get the name of the first."""
    workerinput: dict[str, str] = getattr(config, "workerinput", {})
    config.stash[_RUN] = workerinput.get("awa_run") or uuid.uuid4().hex[:8]


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist process the name of the run."""
    node.workerinput["awa_run"] = node.config.stash[_RUN]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the run made, if a test needed a database."""
    run_id = config.stash.get(_RUN, None)
    if run_id is None or hasattr(config, "workerinput"):
        return
    from awa_lib.testing._paths import find

    if find(run_id) is not None:
        from awa_lib.testing._databases import clean_up

        clean_up(run_id)


@pytest.fixture(scope="session")
def awa_postgres(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Give the server of this run, shared by all its processes."""
    from awa_lib.testing._databases import serve

    with serve(request.config.stash[_RUN]) as postgres:
        yield postgres


@pytest.fixture(scope="session")
def awa_template(awa_postgres: Postgres) -> str:
    """Name the migrated database that others are cloned from."""
    return awa_postgres.template()


@pytest.fixture
def awa_database_url(awa_postgres: Postgres, awa_template: str) -> Iterator[str]:
    """Give the URL of a migrated database of this test's own."""
    with awa_postgres.database(awa_template) as url:
        yield url


@pytest.fixture
def awa_sync_client(awa_database_url: str) -> Iterator[Client]:
    """Give a blocking client on the test's database."""
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
    """Give an async client on the test's database."""
    from awa_lib.client.clients import AsyncClient

    async with AsyncClient(awa_database_url) as client:
        yield client


@_async_fixture
async def awa_client(awa_async_client: AsyncClient) -> AwaTestClient:
    """Give the published test client, on the test's database."""
    from awa_lib.testing._compat import AwaTestClient

    return AwaTestClient(awa_async_client)
