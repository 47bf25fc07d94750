"""The OpenAPI document is true: a machine that knows nothing else finds no contradiction.

All cases that are made from the document are played, and some random ones of each endpoint:
``OPENAPI_EXAMPLES=100`` plays that many.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy

import pytest
import requests
import schemathesis
import schemathesis_hooks  # noqa: F401 - it says which bodies are left out
from hypothesis import HealthCheck, settings

CONFIG = """
[generation]
# JSON Schema cannot say of any JSON that it must not hold NUL, which Postgres cannot store.
allow-x00 = false
"""


@pytest.fixture
def document(server):
    running = server()
    config = schemathesis.Config.from_str(CONFIG)
    return schemathesis.openapi.from_url(f"{running.url}/api/openapi.json", config=config)


schema = schemathesis.pytest.from_fixture("document")
examples = int(os.environ.get("OPENAPI_EXAMPLES") or 0)
quick = settings(
    max_examples=examples or 3,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=not examples,
)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Connections that stay open: the document makes 6,000 requests.

    It keeps no cookie, and asks neither the environment nor ~/.netrc for more headers.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield session


# Hypothesis takes the pauses that a pool in a thread of the server draws for numbers of its own.
# The events never end; test_events follows them.
@schema.exclude(path="/api/events").parametrize()
@quick
@pytest.mark.filterwarnings("ignore:Do not use the .random. module inside strategies")
def test_the_document_is_true(case, session) -> None:
    case.call_and_validate(session=session)
