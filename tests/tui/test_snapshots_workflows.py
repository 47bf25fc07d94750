"""Snapshots of the list of workflows, of one, and of its tasks that failed.

After a change that is meant to be seen: ``pytest tests/tui/test_snapshots_workflows.py
--snapshot-update``, and look at what changed.  The clock of the database goes on: the times are
chosen so that they look the same for minutes.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest
from test_snapshots import at, look_and_size, looks  # noqa: F401 - fixtures

PARTS = 9_996
FETCH, FIRST, BAD, ALERT = 800_001, 800_002, 804_712, 810_000


@pytest.fixture
def flows(seeded: datetime, look) -> None:
    """Three workflows; in the open one half of ten thousand parts has ended, and one has failed."""

    def ago(**span: float) -> datetime:
        return seeded - timedelta(**span)

    flows = [
        (5, "nightly", None, "succeeded", 24, (0, 0, 24, 0, 0, 0), 30, 29),
        (6, "import", "2026-11-28", "failed", 12, (0, 0, 9, 1, 0, 2), 25, 23),
        (7, "import", "2026-11-29", "open", PARTS + 6, (2, 4_998, 4_999, 1, 0, 0), 12.5, None),
    ]
    for flow_id, name, key, state, nodes, counts, began, ended in flows:
        look(
            "INSERT INTO awa.workflows (id, name, key, state, nodes, waiting, started, succeeded,"
            " failed, cancelled, skipped, created_at, finished_at) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            flow_id, name, key, state, nodes, *counts, ago(hours=began),
            None if ended is None else ago(hours=ended),
        )  # fmt: skip
    merge, report, alert, approved = (PARTS + 2 + n for n in range(1, 5))
    rows = [
        (1, "task", "fetch", None, "succeeded", "all_succeeded", "skip", (0, 0, 0, 0), FETCH, "fetch"),
        (2, "group", "parts", None, "waiting", "all_succeeded", "skip", (4_997, 4_998, 1, 0), None, None),
        (3, "task", None, 2, "started", "all_succeeded", "skip", (0, 1, 0, 0), FIRST, "part"),
        (4_713, "task", None, 2, "failed", "all_succeeded", "skip", (0, 1, 0, 0), BAD, "part"),
        (merge, "task", "merge", None, "waiting", "all_succeeded", "wait", (1, 1, 1, 1), 899_999, "merge"),
        (report, "task", "report", None, "waiting", "all_succeeded", "skip", (1, 1, 0, 0), 900_000, "report"),
        (alert, "task", "alert", None, "started", "any_failed", "skip", (1, 1, 1, 0), ALERT, "alert"),
        (approved, "signal", "approved", None, "waiting", "all_succeeded", "skip", (0, 0, 0, 0), None, None),
    ]  # fmt: skip
    for number, type_, name, group, state, rule, on_failure, counts, job_id, kind in rows:
        look(
            "INSERT INTO awa.workflow_nodes (workflow_id, number, type, name, group_number, state,"
            " rule, on_parent_failure, parents_open, parents_succeeded, parents_failed, signals_open,"
            " job_id, kind, queue, priority, max_attempts, ended_at)"
            " VALUES (7, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 2, 3, %s)",
            number, type_, name, group, state, rule, on_failure, *counts, job_id, kind,
            None if kind is None else "imports",
            ago(hours=11, minutes=30) if state in {"succeeded", "failed"} else None,
        )  # fmt: skip
    for parent, child in (
        (1, 3), (1, report), (2, merge), (2, alert), (merge, report), (approved, merge)
    ):  # fmt: skip
        look("INSERT INTO awa.workflow_edges VALUES (7, %s, %s)", parent, child)
    error = {
        "attempt": 3,
        "error": "ValueError: line 8 is no number",
        "at": ago(hours=1).isoformat(),
    }
    jobs = [
        (FETCH, "fetch", "completed", 1, [], ago(hours=12, seconds=95), ago(hours=12)),
        (FIRST, "part", "available", 0, [], None, None),
        (BAD, "part", "failed", 3, [json.dumps(error)], ago(hours=1, seconds=12), ago(hours=1)),
        (ALERT, "alert", "running", 1, [], ago(hours=10, minutes=30), None),
    ]
    for job_id, kind, state, attempt, errors, began, ended in jobs:
        look(
            "INSERT INTO awa.jobs_hot (id, kind, queue, state, attempt, max_attempts, errors, run_at,"
            " created_at, attempted_at, finalized_at)"
            " VALUES (%s, %s, 'imports', %s, %s, 3, %s::jsonb[], %s, %s, %s, %s)",
            job_id, kind, state, attempt, errors, ago(hours=12, minutes=25),
            ago(hours=12, minutes=25), began, ended,
        )  # fmt: skip


def test_workflows(looks, flows) -> None:  # noqa: F811 - the fixture
    assert looks(screen="workflows")


def test_workflow(looks, flows) -> None:  # noqa: F811 - the fixture
    assert looks(at("workflow", 7), screen="workflows")


def test_tasks(looks, flows) -> None:  # noqa: F811 - the fixture
    assert looks(at("tasks", 7, filter="state:failed"), screen="workflows")
