"""What is said about the tasks of a workflow."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import Any

import pytest

from awa_cli.views.workflow_tasks import (
    can_retry,
    cause_of,
    no_job_words,
    note_of,
    notes_of,
    state_of,
)
from awa_cli.views.workflow_tree import commands_of
from awa_cli.views.workflows import can_cancel, state_words
from awa_lib.reads.workflow_reasons import SkipCause, WorkflowWait
from awa_lib.reads.workflow_tasks import (
    GroupMembers,
    WorkflowDetails,
    WorkflowTask,
)
from awa_lib.reads.workflows import WorkflowEdge, WorkflowOverview

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def task(name: str = "merge", **given: Any) -> WorkflowTask:
    known = {
        "number": 1, "type": "task", "state": "waiting", "group": None, "members": None,
        "when": "all_succeeded", "on_parent_failure": "skip", "job_id": 7, "kind": "k",
        "queue": "q", "priority": 2, "max_attempts": 3, "not_before": None, "wait_seconds": None,
        "ended_at": None,
    }  # fmt: skip
    return WorkflowTask(**{"name": name, **known, **given})


def details(*tasks: WorkflowTask, edges: Any = (), **given: Any) -> WorkflowDetails:
    known = {
        "state": "open", "tasks": 3, "waiting": 1, "started": 1, "succeeded": 0, "failed": 0,
        "cancelled": 0, "skipped": 0, "cancelled_at": None, "finished_at": None,
    }  # fmt: skip
    one = WorkflowOverview(
        id=7, name="w", key=None, created_at=NOON, seconds=1.0, seconds_left=None,
        **{**known, **given},
    )  # fmt: skip
    numbered = list(tasks)
    return WorkflowDetails(one, numbered, [WorkflowEdge(*edge) for edge in edges], False)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "merge has not started: it is about to."),
        ({"waits": [WorkflowWait("signal", "go")]}, "merge has not started: it waits for signal go."),
        ({"state": "skipped", "skipped_by": SkipCause("a", "task", "failed")}, "merge was skipped because a failed, and has no job."),
        ({"state": "cancelled"}, "merge was cancelled: it had not started, or its job was deleted."),
        ({"state": "succeeded"}, "The job of merge was deleted."),
        ({"type": "signal"}, "merge is a signal that was not sent."),
    ],
    ids=["ready", "waits", "skipped", "cancelled", "deleted", "signal"],
)  # fmt: skip
def test_a_task_without_a_job_says_why(given, words) -> None:
    assert no_job_words(task(**given)) == words


@pytest.mark.parametrize(
    ("when", "by", "words"),
    [
        ("all_succeeded", SkipCause("a", "task", "failed"), "a failed"),
        ("all_succeeded", SkipCause("a", "task", "cancelled"), "a was cancelled"),
        ("all_succeeded", SkipCause("parts", "group", "failed"), "a task of parts failed"),
        ("all_failed", SkipCause("a", "task", "succeeded"), "a succeeded"),
        ("all_failed", SkipCause("parts", "group", "skipped"), "a task of parts was skipped"),
        ("any_failed", None, "nothing failed"),
        ("all_succeeded", None, None),
    ],
)
def test_why_a_task_was_skipped(when, by, words) -> None:
    assert cause_of(task(state="skipped", when=when, skipped_by=by)) == words
    assert cause_of(task(state="succeeded", when=when, skipped_by=by)) is None


def test_a_moment_is_said_in_the_words_of_the_surface() -> None:
    one = task(waits=[WorkflowWait("time", until=NOON)], when="all_done")

    notes = notes_of(one, others=["x", "y"], moment_words=lambda _: "noon")

    assert note_of(one, notes, between=", ") == (
        "waits until noon, also after x and y, when all_done"
    )


def test_a_name_is_one_word_of_a_command() -> None:
    group = GroupMembers(2, 0, 1, 1, 0)
    tasks = [
        task("-p's", number=1, type="group", state="failed", members=group),
        task("-go on", number=4, type="signal"),
    ]
    found = details(*tasks, failed=1)
    found.failed.append(task("-p's[0]", number=2, state="failed", job_state="dead"))

    commands = [shlex.split(one) for one in commands_of(found)]

    assert commands == [
        ["awa", "dlq", "show", "7"],
        ["awa", "workflow", "tasks", "7", "--group=-p's", "--state", "failed"],
        ["awa", "workflow", "retry", "7"],
        ["awa", "workflow", "signal", "7", "--", "-go on"],
        ["awa", "workflow", "cancel", "7"],
    ]


def test_of_many_signals_none_is_named() -> None:
    found = details(*(task(f"s{n}", number=n, type="signal") for n in range(1, 5)))

    assert commands_of(found) == ["awa workflow signal 7 NAME", "awa workflow cancel 7"]


def test_a_workflow_is_cancelled_once() -> None:
    before, after = details().workflow, details(cancelled_at=NOON).workflow

    assert [can_cancel(before), can_cancel(after)] == [True, False]
    assert [state_words(before), state_words(after)] == ["open", "being cancelled"]
    assert commands_of(details(cancelled_at=NOON)) == []


@pytest.mark.parametrize(
    ("given", "can"),
    [
        ({"state": "succeeded"}, True),
        ({"state": "started"}, False),
        ({"state": "skipped"}, False),
        ({"type": "signal", "state": "succeeded"}, False),
        ({"type": "group", "state": "succeeded", "members": GroupMembers(2, 0, 2, 0, 0)}, False),
        ({"type": "group", "state": "started", "members": GroupMembers(2, 1, 0, 1, 0)}, True),
    ],
)
def test_what_has_ended_can_be_retried(given, can) -> None:
    assert can_retry(task(**given)) is can


def test_a_signal_is_sent_or_not() -> None:
    assert [state_of(task(type="signal", state=state)) for state in ("waiting", "succeeded")] == [
        "not sent", "sent"
    ]  # fmt: skip
