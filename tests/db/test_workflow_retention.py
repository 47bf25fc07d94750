"""What is deleted of workflows and their jobs, and when."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Literal

import psycopg
import pytest

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import workflows
from awa_lib.ops.apart import Aside
from awa_lib.ops.maintenance import delete_old

HOUR = 3600.0


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The leader's connection: it waits for nobody."""
    with psycopg.connect(database_url, autocommit=True, options="-c lock_timeout=100") as conn:
        yield conn


@pytest.fixture
def producer(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        yield client


@pytest.mark.parametrize("aside", [False, True])
@pytest.mark.parametrize(
    ("ended", "state"),
    [("completed", "completed"), ("unsuccessful", "failed"), ("unsuccessful", "cancelled")],
)
def test_jobs_of_an_open_workflow_stay(
    conn, producer, look, ended: Literal["completed", "unsuccessful"], state: str, aside: bool
) -> None:
    """Also where a job that cannot be deleted makes the leader delete them one by one."""
    with producer.workflow("open") as flow:
        first = flow.add({}, kind="k", name="first")
        flow.add({}, kind="k", name="hold", signal="go")
    producer.insert({}, kind="k")
    look("UPDATE awa.jobs_hot SET state = %s, finalized_at = now() - interval '1 day'", state)
    run(conn, workflows.note_ends([(flow.id, first.job_id)]))
    run(conn, workflows.resolve(flow.id))
    others = Aside()
    if aside:
        others.put([1_000_000])

    run(conn, delete_old(ended, HOUR, 100, aside=others))
    assert look("SELECT id FROM awa.jobs") == [{"id": first.job_id}]
    producer.cancel_workflow(flow.id)
    run(conn, delete_old(ended, HOUR, 100, aside=others))
    assert look("SELECT id FROM awa.jobs") == []


def rows_of(look, flow: awa.Workflow) -> list[int]:
    tables = ("workflows WHERE id", "workflow_nodes WHERE workflow_id",
              "workflow_edges WHERE workflow_id", "workflow_events WHERE workflow_id")  # fmt: skip
    return [look(f"SELECT count(*) AS n FROM awa.{one} = %s", flow.id)[0]["n"] for one in tables]


def test_an_old_workflow_is_deleted_in_batches(conn, producer, look, monkeypatch) -> None:
    flows = []
    for name in ("old", "young", "open"):
        with producer.workflow(name) as flow:
            last = flow.add({}, kind="k")
            for _ in range(4):
                last = flow.add({}, kind="k", after=last)
        flows.append(flow)
    old, young, still = flows
    ended = "UPDATE awa.workflows SET state = 'succeeded', finished_at = now() - %s::interval"
    look(f"{ended} WHERE id = %s", "2 hours", old.id)
    look(f"{ended} WHERE id = %s", "1 min", young.id)
    run(conn, workflows.note_ends([(old.id, 1)]))
    monkeypatch.setattr(workflows, "ROWS_PER_STATEMENT", 2)
    left = [rows_of(look, old)]
    while run(conn, workflows.forget_workflow(HOUR)):
        left.append(rows_of(look, old))

    assert left[0] == [1, 5, 4, 1]
    assert left[1] == [1, 5, 2, 1]
    assert left[-1] == [0, 0, 0, 0]
    assert all(
        before - after <= 2
        for one, other in pairwise(left)
        for before, after in zip(one, other, strict=True)
    )
    assert rows_of(look, young) == rows_of(look, still) == [1, 5, 4, 0]


def test_a_workflow_that_is_locked_is_left_to_the_next_round(
    conn, producer, look, database_url
) -> None:
    with producer.workflow("old") as flow:
        flow.add({}, kind="k")
    look("UPDATE awa.workflows SET state = 'succeeded', finished_at = now() - interval '1 day'")
    with psycopg.connect(database_url) as other:
        other.execute("SELECT FROM awa.workflows FOR UPDATE")
        assert run(conn, workflows.forget_workflow(HOUR)) is False
    assert rows_of(look, flow) == [1, 1, 0, 0]
    assert run(conn, workflows.forget_workflow(HOUR)) is True
    assert rows_of(look, flow) == [0, 0, 0, 0]
