"""Changes of workflows: whole or not at all, counted once, and by whoever makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import workflows as ops

STOP = """
    CREATE FUNCTION public.stop() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'stop'; END $$;
    CREATE TRIGGER stop AFTER INSERT OR UPDATE ON awa.workflow_nodes
    FOR EACH ROW EXECUTE FUNCTION public.stop()"""
EVERYTHING = """
    SELECT (SELECT jsonb_agg(to_jsonb(j) ORDER BY id) FROM awa.jobs AS j) AS jobs,
           (SELECT jsonb_agg(to_jsonb(w) ORDER BY id) FROM awa.workflows AS w) AS workflows,
           (SELECT jsonb_agg(to_jsonb(n) ORDER BY workflow_id, number)
            FROM awa.workflow_nodes AS n) AS nodes,
           (SELECT jsonb_agg(to_jsonb(e) ORDER BY workflow_id, parent, child)
            FROM awa.workflow_edges AS e) AS edges,
           (SELECT count(*) FROM awa.workflow_events) AS events"""


@pytest.fixture
def conn(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def producer(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        yield client


@pytest.fixture
def end(conn, look) -> Callable[..., None]:
    """End the job of a task, as a worker of ours does."""

    def end(flow: awa.Workflow, task: Any, state: str = "completed") -> None:
        look(
            "UPDATE awa.jobs_hot SET state = %s, finalized_at = now() WHERE id = %s",
            state,
            task.job_id,
        )
        run(conn, ops.note_ends([(flow.id, task.job_id)]))
        run(conn, ops.resolve(flow.id))

    return end


@pytest.fixture
def states(look) -> Callable[[awa.Workflow], dict[str, str]]:
    """Return the states of named tasks."""
    text = (
        "SELECT name, state FROM awa.workflow_nodes"
        " WHERE workflow_id = %s AND type = 'task' AND name IS NOT NULL ORDER BY number"
    )
    return lambda flow: {row["name"]: row["state"] for row in look(text, flow.id)}


@pytest.fixture
def flow(producer: awa.Client, end) -> awa.Workflow:
    """A workflow in which one task has failed, one runs, and one waits for both and a signal."""
    with producer.workflow("import") as flow:
        bad = flow.add({}, kind="k", name="bad")
        runs = flow.add({}, kind="k", name="runs")
        flow.add(
            {}, kind="k", name="last", after=[bad, runs], on_parent_failure="wait", signal="go"
        )
    end(flow, bad, "failed")
    return flow


def insert(client: awa.Client, _: int) -> None:
    with client.workflow("another") as flow:
        flow.add({}, kind="k", name="b", after=flow.add({}, kind="k", name="a"))


def extend(client: awa.Client, workflow_id: int) -> None:
    with client.extend_workflow(workflow_id) as flow:
        flow.add({}, kind="k", name="more")


@pytest.mark.parametrize(
    "change",
    [
        insert,
        extend,
        lambda client, workflow_id: client.signal(workflow_id, "go"),
        lambda client, workflow_id: client.cancel_workflow(workflow_id),
        lambda client, workflow_id: client.retry_workflow(workflow_id),
        lambda client, workflow_id: client.retry_workflow(workflow_id, downstream=True),
    ],
    ids=["insert", "extend", "signal", "cancel", "retry", "retry downstream"],
)
def test_a_change_that_fails_in_the_middle_changes_nothing(
    producer: awa.Client, conn, look, flow: awa.Workflow, change: Callable[..., Any]
) -> None:
    conn.execute(STOP)
    before = look(EVERYTHING)
    with pytest.raises(awa.DatabaseError, match="stop"):
        change(producer, flow.id)

    assert look(EVERYTHING) == before


def test_a_task_waits_for_the_retry_of_a_parent(
    producer: awa.Client, flow: awa.Workflow, end, states
) -> None:
    producer.signal(flow.id, "go")
    end(flow, flow.parts[1].node)
    assert states(flow) == {"bad": "failed", "runs": "succeeded", "last": "waiting"}
    producer.retry_workflow(flow.id, tasks=["bad"])
    end(flow, flow.parts[0].node)
    assert states(flow) == {"bad": "succeeded", "runs": "succeeded", "last": "started"}


def test_a_retry_of_a_job_is_noted_by_the_retry(
    producer: awa.Client, conn, flow: awa.Workflow, states
) -> None:
    """Without a sweep."""
    producer.retry(flow.parts[0].node.job_id)
    run(conn, ops.resolve(flow.id))
    assert states(flow)["bad"] == "started"


def test_a_retry_that_nobody_noted_is_found_by_the_sweep(
    conn, look, flow: awa.Workflow, states
) -> None:
    """As one of awa 0.5."""
    look("UPDATE awa.jobs_hot SET state = 'available', finalized_at = NULL WHERE state = 'failed'")
    page, left = run(conn, ops.sweep(ops.BEGIN, 0.0))
    run(conn, ops.resolve(flow.id))

    assert (page.noted, left) == (1, [flow.id])
    assert states(flow)["bad"] == "started"


def test_a_new_child_of_an_old_parent_counts_for_itself(
    producer: awa.Client, conn, end, states
) -> None:
    with producer.workflow("grow") as flow:
        first = flow.add({}, kind="k", name="first")
        flow.add({}, kind="k", name="second", after=first)
    with producer.extend_workflow(flow.id) as more:
        more.add({}, kind="k", name="third", after="first")
    end(flow, first)

    assert states(flow) == {"first": "succeeded", "second": "started", "third": "started"}


def add_parts(client: Any, workflow_id: int, key: str | None, *names: str) -> awa.Workflow:
    with client.extend_workflow(workflow_id, key=key) as more:
        for name in names:
            more.add({}, kind="k", name=name)
        more.add_many([{}] * 2, kind="k", after=names)
    return more


def test_an_extension_with_a_key_is_made_once(producer: awa.Client, end, look, states) -> None:
    with producer.workflow("grow") as flow:
        first = flow.add({}, kind="k", name="first")
    assert add_parts(producer, flow.id, "parts", "one", "two").created is True
    before = look(EVERYTHING)
    again = add_parts(producer, flow.id, "parts", "one", "three")

    assert (again.id, again.created) == (flow.id, False)
    assert look(EVERYTHING) == before
    assert add_parts(producer, flow.id, "others", "four").created is True
    assert list(states(flow)) == ["first", "one", "two", "four"]
    with producer.workflow("another") as other:
        other.add({}, kind="k", name="hold", signal="go")
    assert add_parts(producer, other.id, "parts", "one").created is True
    # A program that has got no answer repeats it when the workflow may have ended.
    producer.cancel_workflow(flow.id)
    assert add_parts(producer, flow.id, "parts", "one").created is False
    with pytest.raises(awa.Conflict, match="was cancelled"):
        add_parts(producer, flow.id, "too late", "five")
    assert first.job_id is not None


def test_an_extension_that_fails_may_use_its_key_again(producer: awa.Client, states) -> None:
    with producer.workflow("grow") as flow:
        flow.add({}, kind="k", name="first")
    with pytest.raises(awa.ValidationError, match="'first' is used twice") as found:
        add_parts(producer, flow.id, "parts", "first")
    assert found.value.hint is not None
    assert "give the extension a key" in found.value.hint
    with pytest.raises(ZeroDivisionError), producer.transaction() as tx:
        add_parts(tx, flow.id, "parts", "one")
        raise ZeroDivisionError
    with producer.transaction() as tx:
        assert add_parts(tx, flow.id, "parts", "one").created is True
        assert add_parts(tx, flow.id, "parts", "one").created is False
    assert list(states(flow)) == ["first", "one"]


def test_what_runs_always_is_not_cancelled(producer: awa.Client, end, look, states) -> None:
    with producer.workflow("clean") as flow:
        first = flow.add({}, kind="k", name="first")
        flow.add({}, kind="k", name="runs")
        flow.add({}, kind="k", name="clean up", after=first, when="always")
    end(flow, first)
    assert producer.cancel_workflow(flow.id) == 1
    assert states(flow) == {"first": "succeeded", "runs": "cancelled", "clean up": "started"}
    with (
        pytest.raises(awa.Conflict, match="is being cancelled"),
        producer.extend_workflow(flow.id) as more,
    ):
        more.add({}, kind="k")


def test_a_retry_of_a_group_is_of_its_failed_members(producer: awa.Client, end, look) -> None:
    with producer.workflow("group") as flow:
        parts = flow.add_many([{"n": n} for n in range(3)], kind="k", name="parts")
        flow.add({}, kind="k", name="hold", signal="go")

    class Member:
        def __init__(self, place: int) -> None:
            self.job_id = parts.job_ids[place]

    for place, state in enumerate(("completed", "failed", "cancelled")):
        end(flow, Member(place), state)
    assert producer.retry_workflow(flow.id, tasks=["parts"]) == ["parts[1]", "parts[2]"]


def test_a_task_whose_job_was_deleted_cannot_run_again(
    producer: awa.Client, conn, end, look
) -> None:
    with producer.workflow("gone") as flow:
        first = flow.add({}, kind="k", name="first")
        flow.add({}, kind="k", name="hold", signal="go")
    end(flow, first)
    look("DELETE FROM awa.jobs_hot WHERE id = %s", first.job_id)
    before = look(EVERYTHING)
    with pytest.raises(awa.Conflict, match=r"task 'first' of workflow \d+ cannot run again"):
        producer.retry_workflow(flow.id, tasks=["first"])

    assert look(EVERYTHING) == before


def test_a_workflow_ends_once(producer: awa.Client, conn, end, look) -> None:
    with producer.workflow("once") as flow:
        first = flow.add({}, kind="k", name="first")
    end(flow, first)
    look("UPDATE awa.workflows SET finished_at = finished_at - interval '1 hour'")
    (before,) = look("SELECT finished_at FROM awa.workflows")
    end(flow, first)

    assert look("SELECT finished_at FROM awa.workflows") == [before]


def test_many_tasks_start_in_several_moves(producer: awa.Client, conn, end, look) -> None:
    """So that a transaction, and the lock of the workflow, is short."""
    with producer.workflow("wide") as flow:
        first = flow.add({}, kind="k", name="first")
        flow.add_many(({"n": n} for n in range(2_500)), kind="part", after=first)
    end(flow, first)
    started = "SELECT started, waiting FROM awa.workflows"
    assert look(started) == [{"started": 2_000, "waiting": 500}]
    assert run(conn, ops.resolve(flow.id)) is False
    assert look(started) == [{"started": 2_500, "waiting": 0}]
    assert look("SELECT count(*) AS n FROM awa.jobs WHERE kind = 'part'") == [{"n": 2_500}]
