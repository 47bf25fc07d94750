"""The OpenAPI document is true: a machine that knows nothing else finds no contradiction."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

CONFIG = """
[generation]
# JSON Schema cannot say of any JSON that it must not hold NUL, which Postgres cannot store.
allow-x00 = false
"""


@schemathesis.hook
def filter_body(context, body) -> bool:
    """Leave numbers out that no worker could read: JSON Schema cannot say that of any JSON."""
    return readable(body)


def readable(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(readable, value.values()))
    if isinstance(value, list):
        return all(map(readable, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


@pytest.fixture
def document(server):
    running = server()
    config = schemathesis.Config.from_str(CONFIG)
    return schemathesis.openapi.from_url(f"{running.url}/api/openapi.json", config=config)


schema = schemathesis.pytest.from_fixture("document")
quick = settings(
    max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


# The events never end; test_events follows them.
@schema.exclude(path="/api/events").parametrize()
@quick
def test_the_document_is_true(case) -> None:
    case.call_and_validate()
