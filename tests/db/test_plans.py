"""Statements look up what they need, whatever the statistics say.

A statement is added by one line; values it needs beside those of ``fix_plans.VALUES`` go with it.
"""

from __future__ import annotations

import pytest
from fix_plans import RUNNING, STATES, Case, Queue, check

LEGS = {
    "priorities": [1, 1, 1, 2, 2, 4],
    "ats": ["-infinity"] * 6,
    "late": [300, 301, None, None, None, None],
}
TIMES = ["-infinity", "2000-01-01", "3000-01-01", "-infinity", "3000-01-01", "3000-01-01"]
CASES = [
    Case("claims", "claim_kind"),
    Case("claims", "claim_kinds"),
    Case("claims", "claim_kind_from", LEGS),
    Case("claims", "claim_kinds_from", LEGS | {"each": ["k"] * 6}),
    Case("claims", "late_jobs", LEGS | {"kinds": ["a"] * 6, "ats": TIMES}),
    Case("claims", "claim_limited", {"only": None}),
    Case("claims", "claim_one"),
    Case("claims", "queues_with_jobs", {"queues": ["q", "other"], "kinds": ["k"]}),
    Case("claims", "candidates"),
    Case("claims", "candidates_limited"),
    Case("claims", "hand_back_claim", {"lease": 7, "keep": [*range(11, RUNNING + 1)]}),
    Case("claims", "hold_attempts"),
    Case("claims", "heartbeat"),
    Case("claims", "write_progress"),
    Case("claims", "finish_completed"),
    Case("claims", "finish_completed_with_extras"),
    Case("claims", "finish_attempts"),
    Case("claims", "written_ends"),
    Case("results", "ends", {"ids": [50, *range(1_000_000, 1_000_010)]}),
    Case("results", "of_job", {"id": 1_000_005}),
    Case("results", "forget", {"limit": 10}),
    Case("read_activity", "recent", {"limit": 20}),
]


@pytest.mark.parametrize("filled", STATES, indirect=True)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_scan_of_a_whole_table(filled: Queue, case: Case) -> None:
    check(filled, case)
