"""How much work and memory the building of a large workflow takes, counted."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from typing import Any

import pytest

import awa_lib as awa
from awa_lib._sql import Rows, Statement
from awa_lib.enqueue.kinds import Kinds
from awa_lib.enqueue.workflow_rows import Plan
from awa_lib.enqueue.workflows import Workflow
from awa_lib.ops.workflows import insert_workflow

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def lines(call: Callable[[], object]) -> int:
    """Count the lines that a call runs; a comprehension has one for each round."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> Any:
        nonlocal count
        count += event in ("line", "call")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


def layers(tasks: int, width: int = 100) -> Workflow:
    """Each task waits for three of the layer before."""
    flow = Workflow("layers")
    above: list[Any] = []
    for layer in range(tasks // width):
        above = [
            flow.add(
                {"n": n}, kind="k", name=f"t{layer}.{n}",
                after=[above[(n + step) % width] for step in range(3)] if above else None,
            )
            for n in range(width)
        ]  # fmt: skip
    return flow


def sent(flow: Workflow) -> list[tuple[Statement, int]]:
    """Return the statements of an insert, and the characters that each has copied."""
    answers: dict[str, list[tuple[Any, ...]]] = {
        "insert_workflow": [(7,)],
        "reserve_ids": [(list(range(len(flow))), NOW)],
        "insert_nodes": [([None] * Plan(flow, 1, {}).size,)],
    }
    found = []
    op = insert_workflow(flow)
    statement = next(op)
    while True:
        size = sum(map(len, statement.data)) if statement.data is not None else 0
        found.append((statement, size))
        try:
            statement = op.send(Rows(answers.get(statement.query.name, [])))
        except StopIteration:
            return found


def names(flow: Workflow) -> list[str]:
    return [statement.query.name for statement, _ in sent(flow)]


def test_a_large_workflow_is_a_few_statements() -> None:
    assert names(layers(20_000)) == [
        "begin", "insert_workflow", "reserve_ids", "copy_nodes", "copy_edges", "copy_started",
        "commit",
    ]  # fmt: skip


def test_a_small_workflow_is_three_statements() -> None:
    assert names(layers(200)) == [
        "begin", "insert_workflow", "insert_nodes", "insert_edges", "commit"
    ]  # fmt: skip


def test_what_nobody_can_decide_here_is_left_to_the_database() -> None:
    """A task whose parents are over already, and a workflow without a task."""
    flow = Workflow("over")
    flow.add({}, kind="k", after=flow.add_many([], kind="none"), when="any_failed")
    empty = Workflow("empty")
    empty.add_many([], kind="none")
    assert "resolve_fresh" in names(flow)
    assert "resolve_fresh" in names(empty)


@pytest.mark.parametrize("wait", [{"when": "all_done"}, {"signal": "go"}, {"result_of": "first"}])
def test_a_task_is_added_in_steps_that_do_not_grow(wait: dict[str, Any]) -> None:
    kinds = Kinds()
    kinds.declare(dict, kind="k", result=True)
    flow = Workflow("steps", kinds=kinds)
    first = flow.add({}, kind="k", name="first")
    wait = {"after": first} | wait
    if "result_of" in wait:
        wait["result_of"] = flow.add_many([{}] * 500, kind="k", name="parts")
    steps = []
    for n in range(400):
        steps.append(lines(lambda n=n: flow.add({"n": n}, kind="k", name=f"t{n}", **wait)))

    # The first fills what is remembered; what runs beside, such as a finalizer, is not each.
    assert median(steps[-100:]) <= median(steps[10:110]) + 5


def test_no_cycle_is_looked_for_where_none_is_possible() -> None:
    """A look for one takes a quarter of the insert."""
    ordered = layers(1000)
    named = layers(1000)
    named.add({}, kind="k", name="early", after="late")
    named.add({}, kind="k", name="late")

    assert 3 * lines(ordered.check) < lines(named.check)


def test_rows_are_made_while_they_are_sent() -> None:
    """Beside the workflow itself there is a number for each edge and the id of each job."""
    tasks = 20_000
    flow = layers(tasks)
    edges = 3 * (tasks - 100)
    tracemalloc.start()
    try:
        found = sent(flow)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    sizes = {statement.query.name: size for statement, size in found}
    assert sizes["copy_nodes"] > 60 * tasks
    assert sizes["copy_edges"] > 8 * edges
    # A number and its place in a list, twice while the list grows; ids, and the check of names.
    assert peak < 60 * edges + 200 * tasks


def test_edges_are_in_order_and_those_of_a_group_lead_to_each_member() -> None:
    flow = Workflow("edges")
    last = flow.add({}, kind="k", name="last", after=["b", "a", "b"])
    flow.add_many([{}, {}], kind="k", name="a")
    flow.add_many([], kind="k", name="none")
    flow.add_many([{}, {}], kind="k", name="b", after=["a", "none"])
    plan = Plan(flow, 1, {})

    assert last.number == 1
    assert list(plan.edges()) == [(2, 1), (2, 7), (2, 8), (5, 7), (5, 8), (6, 1)]
    assert (plan.started, plan.waiting, plan.size) == (2, 3, 8)


def test_more_than_a_million_edges_are_refused() -> None:
    flow = Workflow("edges")
    parents = [flow.add({}, kind="k", name=f"p{n}") for n in range(101)]
    flow.add_many([{}] * 10_000, kind="k", name="many", after=parents)
    with pytest.raises(awa.ValidationError, match="more than 1,000,000 edges"):
        Plan(flow, 1, {})
