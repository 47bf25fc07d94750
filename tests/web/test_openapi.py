"""The OpenAPI document is true: a machine that knows nothing else finds no contradiction."""

from __future__ import annotations

import pytest
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
quick = settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


# The events never end; test_events follows them.
@schema.exclude(path="/api/events").parametrize()
@quick
def test_the_document_is_true(case) -> None:
    case.call_and_validate()
