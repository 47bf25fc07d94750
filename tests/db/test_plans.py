"""Statements look up what they need, whatever the statistics say.

A statement is added by one line; values it needs beside those of ``fix_plans.VALUES`` go with it.
"""

from __future__ import annotations

import pytest
from fix_plans import RUNNING, STATES, Case, Queue, check

CASES = [
    Case("claims", "claim_kind"),
    Case("claims", "claim_kinds"),
    Case("claims", "claim_kind_from", {"priorities": [1, 2, 3, 4], "ats": ["-infinity"] * 4}),
    Case(
        "claims",
        "claim_kinds_from",
        {"priorities": [1, 2, 3, 4], "ats": ["-infinity"] * 4, "each": ["k"] * 4},
    ),
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
    Case("claims", "finish_attempts"),
    Case("claims", "written_ends"),
]


@pytest.mark.parametrize("filled", STATES, indirect=True)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_scan_of_a_whole_table(filled: Queue, case: Case) -> None:
    check(filled, case)
