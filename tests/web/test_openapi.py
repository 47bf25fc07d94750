"""The OpenAPI document is true: a machine that knows nothing else finds no contradiction.

``OPENAPI_CASES=all`` plays every case that is made from the document.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
import schemathesis
import schemathesis_hooks  # noqa: F401 - it says which bodies are left out
from hypothesis import HealthCheck, settings
from schemathesis.generation.meta import TestPhase

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


# A bulk operation takes one of five verbs and at least one of nine conditions: half of all cases
# are these combinations, up to 50 for a verb and a kind, as "an object with a valid 'tag': null".
MOST, EACH = 4, 7
played: Counter[tuple[str, ...]] = Counter()


def is_played(case) -> bool:
    """Return whether a case is played: of a verb and a kind the first ones, and every seventh."""
    made, verb = case.meta.phase.data, None
    if isinstance(case.body, dict) and case.meta.phase.name is TestPhase.COVERAGE:
        verb = case.body.get("operation")
    if not isinstance(verb, str) or os.environ.get("OPENAPI_CASES") == "all":
        return True
    kind = (case.operation.label, verb, str(made.parameter_location), str(made.description))
    played[kind] += 1
    return played[kind] <= MOST or played[kind] % EACH == 0


schema = schemathesis.pytest.from_fixture("document")
quick = settings(
    max_examples=6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


# The events never end; test_events follows them.
@schema.exclude(path="/api/events").parametrize()
@quick
def test_the_document_is_true(case) -> None:
    if is_played(case):
        case.call_and_validate()
