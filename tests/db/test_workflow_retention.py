"""What is deleted of workflows and their jobs, and when."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Literal

import psycopg
import pytest

import awa_lib as awa
from awa_lib._sql import Op
from awa_lib.db.drive import run
from awa_lib.ops import workflows
from awa_lib.ops.apart import Aside
from awa_lib.ops.maintenance import delete_old
from awa_lib.ops.workflow_retries import _retry_workflow
from awa_lib.reads.workflow_tasks import WorkflowDetails, list_workflow_tasks, workflow_details
from awa_lib.reads.workflows import workflow_edges, workflow_of_job

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


def chain(client: awa.Client, name: str = "old", **given: Any) -> awa.Workflow:
    """Insert a group and a chain of four tasks behind it: nine nodes, six edges."""
    with client.workflow(name, **given) as flow:
        last: Any = flow.add_many([{}] * 2, kind="k", name="parts")
        for _ in range(4):
            last = flow.add({}, kind="k", after=last)
        flow.add({}, kind="k", name="asked", after=last, signal="go")
    return flow


@pytest.fixture
def end(look) -> Callable[[awa.Workflow, str], None]:
    """Say that a workflow has failed some time ago, all of it."""

    def end(flow: awa.Workflow, ago: str = "2 hours") -> None:
        look(
            "UPDATE awa.workflow_nodes SET state = 'failed', parents_open = 0 WHERE workflow_id = %s"
            " AND type = 'task'",
            flow.id,
        )
        look(
            "UPDATE awa.workflow_nodes SET parents_open = 0, parents_failed = 2"
            " WHERE workflow_id = %s AND type = 'group'",
            flow.id,
        )
        look(
            "UPDATE awa.workflows SET state = 'failed', failed = 7, waiting = 0, started = 0,"
            " finished_at = now() - %s::interval WHERE id = %s",
            ago,
            flow.id,
        )

    return end


def test_an_old_workflow_is_deleted_in_batches(conn, producer, look, end, monkeypatch) -> None:
    """Its row first: a process that dies in between, or a new leader, finds the rest by its id."""
    old, young, still = (chain(producer, name) for name in ("old", "young", "open"))
    extend(producer, old.id, "once")
    extend(producer, young.id, "once")
    end(old, "2 hours")
    end(young, "1 min")
    before = rows_of(look, young)
    monkeypatch.setattr(workflows, "ROWS_PER_STATEMENT", 2)
    left = [rows_of(look, old)]
    while run(conn, workflows.forget_workflow(HOUR)):
        left.append(rows_of(look, old))

    assert left[0] == [1, 10, 7, 0]
    assert left[1] == [0, 10, 5, 0]
    assert left[-1] == [0, 0, 0, 0]
    assert look("SELECT id FROM awa.forgotten_workflows") == []
    assert look("SELECT workflow_id FROM awa.workflow_extensions") == [{"workflow_id": young.id}]
    assert all(
        before - after <= 2
        for one, other in pairwise(left[1:])
        for before, after in zip(one, other, strict=True)
    )
    assert rows_of(look, young) == before
    assert rows_of(look, still) == [1, 9, 6, 0]


def test_the_next_leader_goes_on(conn, producer, look, end, database_url, monkeypatch) -> None:
    first, second = chain(producer), chain(producer, "second")
    end(first, "3 hours")
    end(second, "2 hours")
    monkeypatch.setattr(workflows, "ROWS_PER_STATEMENT", 2)
    with psycopg.connect(database_url, autocommit=True) as before:
        run(before, workflows.forget_workflow(HOUR))
        # Another batch, whose process is then killed.
        before.execute("BEGIN")
        run(before, workflows.forget_workflow(HOUR))
        # Who leads meanwhile does not wait for it.
        assert run(conn, workflows.forget_workflow(HOUR)) is True
        before.execute("ROLLBACK")
    assert rows_of(look, first) == [0, 9, 4, 0]
    assert rows_of(look, second) == [0, 9, 4, 0]
    while run(conn, workflows.forget_workflow(HOUR)):
        pass

    assert rows_of(look, first) == rows_of(look, second) == [0, 0, 0, 0]
    assert look("SELECT id FROM awa.forgotten_workflows") == []


def extend(client: awa.Client, workflow_id: int, key: str | None = None) -> None:
    with client.extend_workflow(workflow_id, key=key) as flow:
        flow.add({}, kind="k", name="more", after="k")


@pytest.mark.parametrize("batches", range(1, 8))
def test_a_half_deleted_workflow_is_gone(
    conn, producer, look, end, monkeypatch, batches: int
) -> None:
    old = chain(producer, key="one")
    end(old)
    monkeypatch.setattr(workflows, "ROWS_PER_STATEMENT", 2)
    for _ in range(batches):
        assert run(conn, workflows.forget_workflow(HOUR)) is True
    left = rows_of(look, old)
    assert left[1] > 0
    for ask in (
        producer.get_workflow,
        producer.list_workflow_tasks,
        lambda one: producer.list_workflow_tasks(one, group="parts"),
        lambda one: producer.list_workflow_tasks(one, state="failed"),
        producer.workflow_edges,
        lambda one: run(conn, workflow_details(one)),
        lambda one: producer.task_result(one, "parts"),
        lambda one: producer.task_result(one, "go"),
        lambda one: list(producer.task_results(one, "parts")),
        producer.retry_workflow,
        lambda one: producer.retry_workflow(one, tasks=["parts"], downstream=True, dry_run=True),
        lambda one: extend(producer, one),
        lambda one: extend(producer, one, "again"),
        lambda one: producer.signal(one, "go"),
        producer.cancel_workflow,
    ):
        with pytest.raises(awa.WorkflowNotFound):
            ask(old.id)
    job_id = old.parts[1].node.job_id
    assert run(conn, workflow_of_job(job_id)) is None
    assert producer.list_workflows() == []

    assert rows_of(look, old) == left
    assert chain(producer, key="one").created


def interrupted(op: Op[Any], at: int, act: Callable[[], Any]) -> Op[Any]:
    """Do as an op, and something else before its statement with this number."""
    rows: Any = None
    for number in itertools.count():
        try:
            statement = op.send(rows)
        except StopIteration as done:
            return done.value
        if number == at:
            act()
        rows = yield statement


@pytest.mark.parametrize(
    "read",
    [
        workflow_details,
        list_workflow_tasks,
        lambda one: list_workflow_tasks(one, group="parts"),
        lambda one: list_workflow_tasks(one, state="failed"),
        lambda one: list_workflow_tasks(one, state="failed", limit=2),
        lambda one: _retry_workflow(one, ["parts", "k"], downstream=True, dry_run=True),
        workflow_edges,
    ],
    ids=["show", "tasks", "members", "failed", "page", "retry", "edges"],
)
@pytest.mark.parametrize("batches", [1, 2, 5, 6, 100])
def test_a_read_is_whole_or_none(
    conn, producer, end, monkeypatch, read: Callable[[int], Op[Any]], batches: int
) -> None:
    monkeypatch.setattr(workflows, "ROWS_PER_STATEMENT", 2)

    def forget() -> None:
        for _ in range(batches):
            run(conn, workflows.forget_workflow(HOUR))

    for at in range(12):
        old = chain(producer)
        assert old.id is not None
        end(old)
        whole = run(conn, read(old.id))
        try:
            found = run(conn, interrupted(read(old.id), at, forget))
        except awa.WorkflowNotFound:
            pass
        else:
            assert timeless(found) == timeless(whole)
        while run(conn, workflows.forget_workflow(HOUR)):
            pass


def timeless(found: Any) -> Any:
    if isinstance(found, WorkflowDetails):
        return dataclasses.replace(found, workflow=dataclasses.replace(found.workflow, seconds=0))
    return found


def test_a_workflow_with_notes_is_moved_on_first(conn, producer, look, end) -> None:
    """A retry of one of its jobs, a moment ago, opens it."""
    old = chain(producer)
    end(old)
    run(conn, workflows.note_ends([(old.id, old.parts[0].node.job_ids[0])]))
    assert run(conn, workflows.forget_workflow(HOUR)) is False
    run(conn, workflows.resolve(old.id))
    assert producer.get_workflow(old.id).state == "open"


def test_notes_of_a_workflow_that_is_gone_are_deleted(conn, producer, look) -> None:
    """Those of a dead letter that was retried after it, for example."""
    with producer.workflow("open") as flow:
        flow.add({}, kind="k")
    run(conn, workflows.note_ends([(flow.id + 1, 1), (flow.id, 1)]))
    _, left = run(conn, workflows.sweep(workflows.BEGIN, 0.0))
    assert left == [flow.id, flow.id + 1]
    for one in left:
        run(conn, workflows.resolve_left(one))
    assert look("SELECT workflow_id FROM awa.workflow_events") == []


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
