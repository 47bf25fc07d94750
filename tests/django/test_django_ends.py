"""What the signal of the end says of tasks that end otherwise than by their functions."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from fix_django import Project, oldest_and_newest
from fix_examples import stop
from fix_wait import eventually
from fix_worker import Rows

pytestmark = oldest_and_newest

ENDED = ("completed", "failed", "cancelled")


@pytest.fixture
def told(project: Project, tmp_path: Path) -> Path:
    """The file in which the workers write what the signal says: id, status, errors."""
    project.environment["TOLD"] = str(tmp_path / "told")
    return tmp_path / "told"


def said(told: Path) -> dict[str, list[str]]:
    """Return what was said of each task; fails when a signal came twice."""
    lines = [line.split() for line in told.read_text().splitlines()]
    assert len(lines) == len({one[0] for one in lines}), lines
    return {one[0]: one[1:] for one in lines}


def ended(rows: Rows) -> bool:
    return set(rows.states()) <= set(ENDED)


def test_a_sleep_is_no_end(project: Project, rows: Rows, told: Path) -> None:
    """Not even in the last attempt."""
    (job,) = project.ask("print(tasks.nap.using(max_attempts=1).enqueue().id)")
    worker = project.worker()
    eventually(lambda: rows.states() == {"completed": 1}, timeout=60)
    stop(worker)
    (found,) = project.ask(f"print(tasks.nap.get_result('{job}').errors)")

    assert said(told) == {job: ["SUCCESSFUL"]}
    assert found == "[]"


def test_a_function_that_is_cancelled_by_itself_fails(
    project: Project, rows: Rows, told: Path
) -> None:
    """It raises what one of its own tasks has raised."""
    (job,) = project.ask("print(tasks.cancel_itself.using(max_attempts=1).enqueue().id)")
    worker = project.worker()
    eventually(lambda: rows.states() == {"failed": 1}, timeout=60)
    stop(worker)
    (found,) = project.ask(f"print(tasks.cancel_itself.get_result('{job}').status)")

    assert said(told) == {job: ["FAILED", "asyncio.exceptions.CancelledError"]}
    assert found == "FAILED"


def test_a_cancelled_task_fails_whatever_its_function_does(
    project: Project, rows: Rows, told: Path, tmp_path: Path
) -> None:
    place = str(tmp_path)
    stopped, returned = project.ask(
        f"for task in (tasks.begin, tasks.heed):\n    print(task.enqueue({place!r}).id)"
    )
    worker = project.worker()
    for name in ("begun", "heeds"):
        eventually((tmp_path / name).exists, timeout=60)
    project.ask(
        f"import awa_lib\nfor one in ({stopped}, {returned}):\n"
        "    awa_lib.Client.on(connection).cancel(one)"
    )
    eventually(lambda: told.exists() and len(said(told)) == 2, timeout=30)
    stop(worker)

    cancelled = ["FAILED", "awa_lib.django.JobCancelled"]
    assert said(told) == {stopped: cancelled, returned: cancelled}
    assert rows.states() == {"cancelled": 2}


def test_a_task_past_its_deadline_fails_in_its_last_attempt(
    project: Project, rows: Rows, told: Path
) -> None:
    stopped, returned, again = project.ask(
        "hasty = dict(backend='hasty', queue_name='hasty')\n"
        "print(tasks.aoversleep.using(**hasty).enqueue(1).id)\n"
        "print(tasks.oversleep.using(**hasty).enqueue(2.5).id)\n"
        "print(tasks.aoversleep.using(**hasty, max_attempts=2).enqueue(1).id)"
    )
    worker = project.worker("--backend", "hasty")
    eventually(lambda: ended(rows), timeout=60)
    eventually(lambda: len(said(told)) == 3, timeout=30)
    stop(worker)

    assert said(told) == {
        stopped: ["FAILED", "builtins.TimeoutError"],
        # What a function returns late still counts.
        returned: ["SUCCESSFUL"],
        again: ["SUCCESSFUL", "builtins.TimeoutError"],
    }
    assert rows.job(int(stopped))["state"] == "failed"
    assert rows.states() == {"failed": 1, "completed": 2}


def test_a_task_of_a_worker_that_stops_has_not_ended(
    project: Project, rows: Rows, told: Path, tmp_path: Path
) -> None:
    (job,) = project.ask(f"print(tasks.begin.using(max_attempts=1).enqueue({str(tmp_path)!r}).id)")
    first = project.worker("--drain-timeout", "0.2")
    eventually((tmp_path / "begun").exists, timeout=60)
    stop(first)
    assert not told.exists()
    second = project.worker()
    eventually(lambda: rows.states() == {"completed": 1}, timeout=60)
    stop(second)

    assert said(told) == {job: ["SUCCESSFUL"]}


WORKFLOW = """
import awa_lib
with awa_lib.Client.on(connection).workflow("of tasks") as flow:
    first = flow.add({{"args": [{place!r}]}}, kind="app.tasks.begin", name="first")
    flow.add({{"args": [1], "kwargs": {{"b": 2}}}}, kind="app.tasks.add", name="sum", after=first)
print(flow.id)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_workflow_of_tasks_goes_on_after_its_worker(
    project: Project, rows: Rows, told: Path, tmp_path: Path, how: signal.Signals
) -> None:
    (flow,) = project.ask(WORKFLOW.format(place=str(tmp_path)))
    first = project.worker("--drain-timeout", "0.2")
    eventually((tmp_path / "begun").exists, timeout=60)
    os.killpg(first.pid, how)
    try:
        first.wait(20)
    except subprocess.TimeoutExpired:
        pytest.fail("the worker does not stop")
    assert rows.one("SELECT state, started FROM awa.workflows") == {"state": "open", "started": 1}
    second = project.worker()
    eventually(
        lambda: rows.one("SELECT state FROM awa.workflows")["state"] == "succeeded", timeout=60
    )
    stop(second)
    (value,) = project.ask(
        f"import awa_lib\nprint(awa_lib.Client.on(connection).task_result({flow}, 'sum'))"
    )

    assert value == "3"
    assert [one for one, *_ in said(told).values()] == ["SUCCESSFUL"] * 2
