"""``awa batch``: bulk operations from submit to end."""

from __future__ import annotations

import uuid

import pytest


def test_a_bulk_operation_from_submit_to_end(cli, add, db) -> None:
    for _ in range(3):
        add("failed", kind="k")
    add("failed")
    line = ["batch", "submit", "retry", "--state", "failed", "--kind", "k"]
    assert cli(*line, "--dry-run").out == "3 jobs\n"
    assert cli("batch", "list").out == "No bulk operations found.\n"
    ran = cli(*line)
    operation = ran.out.strip()
    assert "Submitted a change of 3 jobs: awa batch show" in ran.err
    assert cli("batch", "list", "-o", "json").data[0]["state"] == "pending"
    page = cli("batch", "show", operation).out
    assert page.startswith(f"Bulk operation {operation}  pending\n\n  operation  retry\n")
    assert f"  awa batch run {operation}\n  awa batch cancel {operation}\n" in page
    done = cli("batch", "run", operation)
    assert done.status == 0
    assert "  done       3 of 3\n" in done.out
    assert "100%" in done.out
    assert cli("batch", "show", operation, "-o", "json").data["state"] == "completed"
    over = cli("batch", "cancel", operation)
    assert over.status == 1
    assert "it is completed" in over.err
    assert cli("job", "list", "--state", "available", "-o", "ids").out.count("\n") == 3


def test_a_bulk_operation_is_stopped(cli, add) -> None:
    add("completed")
    refused = cli("batch", "submit", "delete", "--state", "completed")
    assert refused.status == 2
    assert "confirmation is required to delete 1 job for good" in refused.err
    operation = cli("batch", "submit", "delete", "--all", "--yes", "-o", "json").data["id"]
    assert cli("batch", "cancel", operation).out == (
        f"Cancelled bulk operation {operation} after 0 jobs\n"
    )
    assert cli("batch", "list", "--state", "cancelled", "-o", "ids").out == f"{operation}\n"


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["submit", "explode", "--all"], 2, "unknown"),
        (["submit", "retry"], 2, "needs at least one of"),
        (["submit", "set_priority", "--all"], 2, "needs priority"),
        (["list", "--state", "done"], 2, "unknown state of a bulk operation"),
        (["show", "x"], 2, "must be a UUID"),
        (["show", str(uuid.uuid4())], 1, "bulk operation not found"),
        (["run", str(uuid.uuid4())], 1, "bulk operation not found"),
    ],
)
def test_bad_bulk_operations(cli, line, status, says) -> None:
    ran = cli("batch", *line)
    assert (ran.status, ran.out) == (status, "")
    assert says in ran.err
