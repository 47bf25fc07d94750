"""Workflows that are built, extended and retried by mistake, or at the same moment by others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import workflows as ops


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def flows(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        yield client


def end(db: psycopg.Connection[Any], flow: awa.Workflow, state: str, *job_ids: int) -> None:
    """Let jobs end, and move the workflow on."""
    db.execute(
        "UPDATE awa.jobs_hot SET state = %s::awa.job_state, finalized_at = now()"
        " WHERE id = ANY (%s)",
        (state, list(job_ids)),
    )
    assert flow.id is not None
    run(db, ops.note_ends((flow.id, job_id) for job_id in job_ids))
    move_on(db, flow)


def move_on(db: psycopg.Connection[Any], flow: awa.Workflow) -> None:
    assert flow.id is not None
    while run(db, ops.resolve(flow.id)):
        pass


def tasks(client: awa.Client, flow: awa.Workflow) -> dict[str, str]:
    assert flow.id is not None
    return {one.name: one.state for one in client.list_workflow_tasks(flow.id)}


def state(client: awa.Client, flow: awa.Workflow) -> str:
    assert flow.id is not None
    return client.get_workflow(flow.id).state


def of_kind(client: awa.Client, kind: str) -> list[str]:
    return [str(job.state) for job in client.list_jobs(kind=kind)]


# -- Build


def test_a_task_that_is_added_after_the_block_is_refused(flows: awa.Client) -> None:
    with flows.workflow("late") as flow:
        flow.add({}, kind="k")
    with pytest.raises(awa.Conflict, match="takes no more tasks") as refused:
        flow.add({}, kind="k")
    with pytest.raises(awa.Conflict):
        flow.add_many([{}], kind="k")

    assert f"extend_workflow({flow.id})" in str(refused.value.hint)
    assert len(flow) == 1


def test_a_block_that_raised_takes_no_tasks_either(flows: awa.Client) -> None:
    with pytest.raises(ZeroDivisionError), flows.workflow("none") as flow:
        flow.add({}, kind="k")
        raise ZeroDivisionError
    with pytest.raises(awa.Conflict, match="takes no more tasks"):
        flow.add({}, kind="k")
    assert flows.list_workflows() == []


def test_an_empty_group_keeps_the_order(flows: awa.Client, db: Any) -> None:
    with flows.workflow("order") as flow:
        fetch = flow.add({}, kind="fetch")
        parts = flow.add_many([], kind="part", name="parts", after=fetch, signal="go")
        more = flow.add_many([], kind="part", name="more", after=[parts, "nothing"])
        flow.add_many([], kind="part", name="nothing")
        flow.add({}, kind="merge", name="merge", after=more)
        flow.add({}, kind="alert", name="alert", after=more, when="any_failed")
    assert (of_kind(flows, "merge"), tasks(flows, flow)["alert"]) == ([], "skipped")
    end(db, flow, "completed", fetch.job_id)
    assert of_kind(flows, "merge") == []
    assert flow.id is not None
    flows.signal(flow.id, "go")
    assert of_kind(flows, "merge") == ["available"]


def test_an_empty_group_that_does_not_need_its_parents_hides_their_failure(
    flows: awa.Client, db: Any
) -> None:
    with flows.workflow("order") as flow:
        fetch = flow.add({}, kind="fetch")
        parts = flow.add_many([], kind="part", after=fetch, when="all_done")
        flow.add({}, kind="merge", name="merge", after=parts)
    end(db, flow, "failed", fetch.job_id)
    assert tasks(flows, flow)["merge"] == "started"


def test_too_many_edges_are_refused_before_they_are_made(flows: awa.Client) -> None:
    with (
        pytest.raises(awa.ValidationError, match="more than 1,000,000 edges") as refused,
        flows.workflow("wide") as flow,
    ):
        parents = [flow.add({}, kind="k") for _ in range(1_000)]
        flow.add_many([{}] * 1_001, kind="k", name="all", after=parents)
    assert "add_many" in str(refused.value.hint)
    assert flows.list_workflows() == []


def test_a_signal_with_the_name_of_a_task_is_refused(flows: awa.Client) -> None:
    with flows.workflow("grow") as flow:
        flow.add({}, kind="k", name="merge", signal="go")
    assert flow.id is not None
    with (
        pytest.raises(awa.ValidationError, match="'merge' is used twice"),
        flows.extend_workflow(flow.id) as more,
    ):
        more.add({}, kind="k", name="next", signal="merge")
    with flows.extend_workflow(flow.id) as more:
        more.add({}, kind="k", name="next", signal="go")

    assert list(tasks(flows, flow)) == ["merge", "go", "next"]


@pytest.mark.parametrize("grouped", [False, True])
def test_a_parent_whose_end_is_only_noted_is_counted_once(
    flows: awa.Client, db: Any, grouped: bool
) -> None:
    """Counted twice, it stood for the other parent too, which still ran."""
    with flows.workflow("grow") as flow:
        if grouped:
            flow.add_many([{}], kind="first", name="first")
        else:
            flow.add({}, kind="first", name="first")
        other = flow.add({}, kind="other", name="other")
        flow.add({}, kind="k", name="hold", signal="go")
    assert flow.id is not None
    (first,) = flows.list_jobs(kind="first")
    db.execute(
        "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() WHERE id = %s",
        (first.id,),
    )
    run(db, ops.note_ends([(flow.id, first.id)]))
    with flows.extend_workflow(flow.id) as more:
        more.add({}, kind="child", name="child", after=["first", "other"], signal="go")
    flows.signal(flow.id, "go")

    assert of_kind(flows, "child") == []
    end(db, flow, "completed", other.job_id)
    assert of_kind(flows, "child") == ["available"]


def test_a_workflow_does_not_grow_without_bounds(flows: awa.Client, db: Any) -> None:
    with flows.workflow("grow") as flow:
        flow.add({}, kind="k")
    db.execute("UPDATE awa.workflows SET succeeded = 99998")
    assert flow.id is not None
    with (
        pytest.raises(awa.ValidationError, match="at most 100,000 tasks, got 100,001"),
        flows.extend_workflow(flow.id) as more,
    ):
        more.add_many([{}] * 2, kind="k")
    with flows.extend_workflow(flow.id) as more:
        more.add({}, kind="k")


def test_a_payload_can_be_read(flows: awa.Client) -> None:
    with flows.workflow("payload") as flow:
        flow.add({}, kind="k", signal=["yes", "no", "maybe"])
    assert flow.id is not None
    flows.signal(flow.id, "yes", {"by": "ann"})
    flows.signal(flow.id, "no")

    assert flows.task_result(flow.id, "yes") == {"by": "ann"}
    assert flows.task_result(flow.id, "no") is None
    with pytest.raises(awa.Conflict, match="'maybe' was not sent"):
        flows.task_result(flow.id, "maybe")


# -- Retry


def test_a_member_that_is_not_there_is_no_other_task(flows: awa.Client, db: Any) -> None:
    with flows.workflow("members") as flow:
        parts = flow.add_many([{}] * 3, kind="part", name="parts")
        merge = flow.add({}, kind="merge", name="merge", after=parts)
        flow.add({}, kind="report", name="report", after=merge)
    assert flow.id is not None
    for kind in ("part", "merge", "report"):
        ids = [job.id for job in flows.list_jobs(kind=kind)]
        end(db, flow, "completed", *ids)
    assert state(flows, flow) == "succeeded"

    for name, why in (("parts[3]", "3 tasks"), ("parts[900000]", "3 tasks"), ("merge[0]", "valid")):
        with pytest.raises(awa.ValidationError, match="has no task") as refused:
            flows.retry_workflow(flow.id, tasks=[name])
        assert why in str(refused.value.why)
    assert flows.retry_workflow(flow.id, tasks=["parts[2]"], dry_run=True) == ["parts[2]"]


def test_a_retry_behind_large_groups_walks_each_edge_once(flows: awa.Client, db: Any) -> None:
    """Of 3,000 members that another 3,000 wait for, it walked nine million edges."""
    with flows.workflow("groups") as flow:
        first = flow.add_many([{}] * 3_000, kind="first", name="first")
        second = flow.add_many(
            [{}] * 3_000, kind="second", name="second", after=first, when="all_done"
        )
        flow.add({}, kind="last", name="last", after=second)
    end(db, flow, "failed", *first.job_ids)
    end(db, flow, "completed", *second.job_ids)
    db.execute("SET statement_timeout = '3s'")
    assert flow.id is not None
    found = awa.Client.on(db).retry_workflow(flow.id, downstream=True, dry_run=True)

    assert len(found) == 6_000
    assert found[::1000] == [
        *(f"first[{n}]" for n in (0, 1000, 2000)), *(f"second[{n}]" for n in (0, 1000, 2000))
    ]  # fmt: skip


def test_a_job_that_runs_again_is_not_inserted_once_more(flows: awa.Client, db: Any) -> None:
    with flows.workflow("twice") as flow:
        first = flow.add({}, kind="first", max_attempts=1)
        other = flow.add({}, kind="other", max_attempts=1)
    assert flow.id is not None
    end(db, flow, "failed", first.job_id, other.job_id)
    assert first.job_id is not None
    flows.retry(first.job_id)

    assert flows.retry_workflow(flow.id) == ["other"]
    assert (of_kind(flows, "first"), of_kind(flows, "other")) == (["available"], ["available"])
    assert tasks(flows, flow) == {"first": "started", "other": "started"}
    with pytest.raises(awa.Conflict, match="no task of workflow"):
        flows.retry_workflow(flow.id)


def test_all_jobs_run_again_already(flows: awa.Client, db: Any) -> None:
    with flows.workflow("twice") as flow:
        first = flow.add({}, kind="first", max_attempts=1)
    end(db, flow, "failed", first.job_id)
    assert flow.id is not None
    assert first.job_id is not None
    flows.retry(first.job_id)
    with pytest.raises(awa.Conflict) as refused:
        flows.retry_workflow(flow.id)

    assert "runs again already" in str(refused.value.why)
    assert of_kind(flows, "first") == ["available"]


def test_a_dead_letter_that_is_retried_opens_its_workflow(flows: awa.Client, db: Any) -> None:
    with flows.workflow("dead") as flow:
        first = flow.add({}, kind="first", max_attempts=1)
        flow.add({}, kind="second", name="second", after=first)
    end(db, flow, "failed", first.job_id)
    assert first.job_id is not None
    flows.move_failed_to_dlq(first.job_id)
    flows.retry_from_dlq(first.job_id)
    move_on(db, flow)

    assert (state(flows, flow), tasks(flows, flow)["first"]) == ("open", "started")
    end(db, flow, "completed", first.job_id)
    assert of_kind(flows, "second") == ["available"]


def test_a_retry_takes_the_dead_letter_and_makes_no_second_job(flows: awa.Client, db: Any) -> None:
    with flows.workflow("dead") as flow:
        first = flow.add({}, kind="first", max_attempts=1)
        flow.add({}, kind="second", name="second", after=first)
    end(db, flow, "failed", first.job_id)
    assert flow.id is not None
    assert first.job_id is not None
    flows.move_failed_to_dlq(first.job_id)

    assert flows.retry_workflow(flow.id) == ["first"]
    assert (flows.dlq_depth(), flows.get_job(first.job_id).attempt) == (0, 0)
    assert tasks(flows, flow)["first"] == "started"


def test_a_cancel_finds_a_job_that_was_retried_a_moment_ago(flows: awa.Client, db: Any) -> None:
    with flows.workflow("cancel") as flow:
        first = flow.add({}, kind="first", max_attempts=1)
        flow.add({}, kind="second", name="second", signal="go")
    end(db, flow, "failed", first.job_id)
    assert flow.id is not None
    assert first.job_id is not None
    flows.retry(first.job_id)

    assert flows.cancel_workflow(flow.id) == 1
    assert of_kind(flows, "first") == ["cancelled"]
    assert state(flows, flow) == "cancelled"
