"""``awa workflow``: from the list to the end of a workflow."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fix_cli import argv, environment

import awa_lib as awa


@dataclass
class Step:
    name: str


@pytest.fixture
def client(database_url: str) -> Iterator[awa.Client]:
    with awa.Client(database_url) as client:
        yield client


@pytest.fixture
def flow(client: awa.Client) -> awa.Workflow:
    """An import: two parts, a merge that waits for a signal too, a report, and an alert."""
    with client.workflow("import", key="2026-11-29") as flow:
        fetch = flow.add(Step("fetch"), name="fetch")
        parts = flow.add_many([Step("a"), Step("b"), Step("c")], name="parts", after=fetch)
        merge = flow.add(
            Step("merge"),
            name="merge",
            after=parts,
            on_parent_failure="wait",
            signal="approved",
        )
        flow.add(Step("report"), name="report", after=[merge, fetch])
        flow.add(Step("alert"), name="alert", after=parts, when="any_failed")
    return flow


def end(db, client: awa.Client, state: str, *ids: int | None) -> None:
    """End jobs as a worker does, and move their workflow on."""
    db.execute(
        "UPDATE awa.jobs_hot SET state = %s, finalized_at = now(), attempt = 1, errors = %s"
        " WHERE id = ANY (%s)",
        (state, [json.dumps({"error": "disk full", "attempt": 1})], list(ids)),
    )
    db.execute(
        "INSERT INTO awa.workflow_events (workflow_id, job_ids)"
        " SELECT min(workflow_id), %s FROM awa.workflow_nodes WHERE job_id = ANY (%s)",
        (list(ids), list(ids)),
    )
    db.execute("SELECT awa.resolve_workflow(max(id)) FROM awa.workflows")


def plain(text: str) -> list[str]:
    """The lines of the tree, without durations and the blanks that align them."""
    body = text.partition("\nTasks\n")[2].partition("\n\n")[0]
    lines = [re.sub(r"(?<=\w)  +", "  ", line.removeprefix("  ")) for line in body.splitlines()]
    return [re.sub(r"  \d+(ms|s)(?=  |$)", "", line) for line in lines]


def test_a_list_of_workflows(cli, client, flow) -> None:
    with client.workflow("other") as other:
        other.add(Step("x"), name="x")
    client.cancel_workflow(other.id or 0)

    ran = cli("workflow", "list")
    assert ran.out.splitlines()[0].split() == [
        "ID", "NAME", "KEY", "STATE", "DONE", "FAILED", "CREATED", "TOOK", "LEFT",
    ]  # fmt: skip
    assert ran.out.splitlines()[2].split()[:6] == [
        str(flow.id), "import", "2026-11-29", "open", "0/7", "0"
    ]  # fmt: skip
    assert f"2 workflows listed.  To see tasks: awa workflow show {flow.id}" in ran.err
    assert cli("workflow", "list", "--state", "open", "-o", "ids").out == f"{flow.id}\n"
    assert cli("workflow", "list", "--name", "other", "-o", "ids").out == f"{other.id}\n"
    assert cli("workflow", "list", "--before-id", other.id, "-o", "ids").out == f"{flow.id}\n"
    found = cli("workflow", "list", "--key", "2026-11-29", "--name", "import", "-o", "json").data
    assert (found[0]["tasks"], found[0]["waiting"], found[0]["started"]) == (7, 6, 1)
    empty = cli("workflow", "list", "--name", "nothing", "--fail-empty")
    assert (empty.status, empty.out) == (5, "No workflows found.\n")


def test_a_page_says_what_each_task_waits_for(cli, client, db, flow) -> None:
    jobs = {one.name: one.job_id for one in client.list_workflow_tasks(flow.id)}
    page = cli("workflow", "show", flow.id).out
    assert page.startswith(f"Workflow {flow.id}  import 2026-11-29  open\n")
    assert "  tasks      0/7  6 waiting · 1 started\n" in page
    assert plain(page) == [
        f"▶ fetch  started  job {jobs['fetch']} available",
        "└ · parts  waiting  ░░░░░░░░░░░░░░░░ 0/3  waits for fetch",
        "  ├ · merge  waiting  waits for parts and for signal approved",
        "  │ └ · report  waiting  waits for fetch and for merge  also after fetch",
        "  └ · alert  waiting  waits for parts  when any_failed",
    ]
    assert "\nSignals\n  · approved  not sent\n" in page
    assert f"\n  awa workflow signal {flow.id} approved\n  awa workflow cancel {flow.id}\n" in page

    end(db, client, "completed", jobs["fetch"])
    parts = [one.job_id for one in client.list_workflow_tasks(flow.id, group="parts")]
    end(db, client, "completed", parts[0])
    end(db, client, "failed", parts[1])
    assert cli("workflow", "signal", flow.id, "approved").status == 0
    # At this rate some minutes are left; less than a second is not shown.
    db.execute("UPDATE awa.workflows SET created_at = created_at - interval '5 minutes'")
    page = cli("workflow", "show", flow.id).out
    jobs = {one.name: one.job_id for one in client.list_workflow_tasks(flow.id)}
    assert plain(page) == [
        f"✓ fetch  succeeded  job {jobs['fetch']}",
        "└ ▶ parts  started  ███████████░░░░░ 2/3 · 1 failed",
        "  ├ · merge  waiting  waits for parts",
        "  │ └ · report  waiting  waits for merge  also after fetch",
        f"  └ ▶ alert  started  job {jobs['alert']} available  when any_failed",
    ]
    assert "  time left  about " in page
    assert "  ✓ approved  sent" in page
    end(db, client, "completed", parts[2])
    page = cli("workflow", "show", flow.id).out
    assert plain(page)[2] == "  ├ · merge  waiting  waits for a retry of parts, which failed"
    assert f"\nFailed\n  parts[1]  job {parts[1]}  disk full\n\nTasks\n" in page
    assert (
        "\nWhat can be done\n"
        f"  awa job show {parts[1]}\n"
        f"  awa workflow tasks {flow.id} --group parts --state failed\n"
        f"  awa workflow retry {flow.id}\n"
    ) in page
    failed = cli("workflow", "tasks", flow.id, "--group", "parts", "--state", "failed")
    assert failed.out.splitlines()[1].split()[:5] == [
        "parts[1]", "failed", str(parts[1]), "failed", "step"
    ]  # fmt: skip
    assert failed.out.rstrip().endswith("disk full")
    assert f"To see an error: awa job show {parts[1]}" in failed.err


def test_durations(cli, client, db, flow) -> None:
    jobs = {one.name: one.job_id for one in client.list_workflow_tasks(flow.id)}
    end(db, client, "completed", jobs["fetch"])
    parts = [one.job_id for one in client.list_workflow_tasks(flow.id, group="parts")]
    db.execute(
        "UPDATE awa.jobs_hot SET created_at = now() - interval '90 minutes',"
        " attempted_at = now() - interval '3 minutes' WHERE id = ANY (%s)",
        [[jobs["fetch"], *parts]],
    )
    db.execute("UPDATE awa.jobs_hot SET finalized_at = now() WHERE finalized_at IS NOT NULL")
    page = cli("workflow", "show", flow.id).out
    assert f"✓ fetch         succeeded     3m  job {jobs['fetch']}\n" in page
    assert "└ ▶ parts       started    1h30m  ░" in page
    tasks = cli("workflow", "tasks", flow.id, "--group", "parts", "-o", "json").data
    assert [(one["started_at"], one["seconds"]) for one in tasks] == [(None, None)] * 3

    end(db, client, "completed", *parts)
    db.execute("UPDATE awa.workflow_nodes SET ended_at = now() - interval '30 minutes'")
    page = cli("workflow", "show", flow.id).out
    assert "└ ✓ parts       succeeded  1h  █" in page
    assert re.search(r"parts\[0\] .* 3m", cli("workflow", "tasks", flow.id, "--group", "parts").out)


def test_of_many_that_failed_the_first_are_named(cli, client, db) -> None:
    with client.workflow("wide") as flow:
        for number in range(5):
            flow.add_many([Step("x")] * 2, name=f"g{number}")
    jobs = [one.job_id for one in client.list_workflow_tasks(flow.id, state="started")]
    end(db, client, "failed", *jobs)
    page = cli("workflow", "show", flow.id).out
    failed = page.partition("\nFailed\n")[2].partition("\n\n")[0].splitlines()
    assert failed == [
        f"  g0[0]  job {jobs[0]}  disk full",
        f"  g0[1]  job {jobs[1]}  disk full",
        f"  g1[0]  job {jobs[2]}  disk full",
        f"  … and 7 more: awa workflow tasks {flow.id} --state failed",
    ]
    done = page.partition("\nWhat can be done\n")[2].splitlines()
    assert done == [
        f"  awa job show {jobs[0]}",
        f"  awa workflow tasks {flow.id} --state failed",
        f"  awa workflow retry {flow.id}",
    ]


def test_what_was_skipped_says_why(cli, client, db) -> None:
    with client.workflow("skips") as flow:
        bad = flow.add(Step("x"), name="bad")
        parts = flow.add_many([Step("x")] * 2, name="parts")
        flow.add(Step("x"), name="a", after=bad)
        flow.add(Step("x"), name="b", after=parts)
        flow.add(Step("x"), name="c", after="a")
        flow.add(Step("x"), name="d", after=bad, when="all_succeeded")
        flow.add(Step("x"), name="e", after=bad, when="any_succeeded")
        flow.add(Step("x"), name="f", after=[bad, parts], when="all_failed")
        flow.add_many([Step("x")] * 2, name="g", after=["a", "b"])
    jobs = [one.job_id for one in client.list_workflow_tasks(flow.id, state="started")]
    end(db, client, "failed", jobs[0], jobs[1])
    end(db, client, "completed", jobs[2])
    page = cli("workflow", "show", flow.id).out
    causes = {
        re.findall(r"[✗▶-] (\w+)", line)[0]: line.partition("because ")[2] for line in plain(page)
    }
    assert causes == {
        "bad": "", "a": "bad failed", "c": "a was skipped", "d": "bad failed",
        "e": "nothing succeeded  when any_succeeded", "parts": "", "b": "a task of parts failed",
        "f": "a task of parts succeeded  also after bad  when all_failed",
        "g": "a was skipped  also after a",
    }  # fmt: skip
    # The same in a list, where the parents are on no page, and of members.
    listed = cli("workflow", "tasks", flow.id, "--state", "skipped").out
    for name, cause in (
        ("a", "bad failed"),
        ("b", "a task of parts failed"),
        (r"g\[1\]", "a was skipped"),
    ):
        assert re.search(rf"^ *{name} .*because {cause}$", listed, re.MULTILINE), listed
    found = cli("workflow", "tasks", flow.id, "--state", "skipped", "-o", "json").data
    assert {one["name"]: one["skipped_by"] and one["skipped_by"]["name"] for one in found} == {
        "a": "bad", "b": "parts", "c": "a", "d": "bad", "e": None, "f": "parts", "g[0]": "a",
        "g[1]": "a",
    }  # fmt: skip


def test_deep_and_wide_graphs_are_drawn(cli, client) -> None:
    with client.workflow("deep") as flow:
        last = flow.add(Step("x"), name="t0")
        for n in range(1, 1500):
            last = flow.add(Step("x"), name=f"t{n}", after=last)
    page = cli("workflow", "show", flow.id, "--limit", "1400").out
    lines = plain(page)
    assert len(lines) == 1401
    assert lines[1399].startswith("…")
    assert "└ · t1399  waiting  waits for t1398" in lines[1399]
    assert lines[1400] == f"… and more: awa workflow tasks {flow.id}"
    assert max(map(len, page.splitlines())) < 100


def test_a_graph_for_other_programs(cli, client) -> None:
    with client.workflow('na"me') as flow:
        first = flow.add(Step("x"), name='a"b#c')
        flow.add_many([Step("x")] * 2, name="group", after=first, signal="go")
    text = cli("workflow", "show", flow.id, "-o", "mermaid").out
    assert text.splitlines()[:4] == [
        "flowchart TD",
        '  n1["a#34;b#35;c<br/>started"]:::started',
        '  n2[["group<br/>waiting<br/>0/2"]]:::waiting',
        '  n5(["go<br/>not sent"]):::waiting',
    ]
    assert "  n1 --> n2\n  n5 --> n2\n" in text
    text = cli("workflow", "show", flow.id, "-o", "dot").out
    assert text.startswith('digraph "na\\"me" {\n')
    assert 'n1 [label="a\\"b#c\\nstarted"' in text
    if dot := shutil.which("dot"):
        drawn = subprocess.run(
            [dot, "-Tsvg"], input=text, capture_output=True, text=True, timeout=30
        )
        assert (drawn.returncode, drawn.stderr) == (0, "")
    found = cli("workflow", "show", flow.id, "-o", "json").data
    assert [one["name"] for one in found["tasks"]] == ['a"b#c', "group", "go"]
    assert found["edges"] == [{"parent": 1, "child": 2}, {"parent": 5, "child": 2}]
    cut = cli("workflow", "show", flow.id, "-o", "dot", "--limit", 1)
    assert "The graph has more than 1 task: --limit N" in cut.err


def test_a_job_names_its_workflow(cli, client, flow) -> None:
    jobs = {one.name: one.job_id for one in client.list_workflow_tasks(flow.id)}
    page = cli("job", "show", jobs["fetch"]).out
    assert f"  workflow   {flow.id} import, task fetch\n" in page
    assert f"  awa workflow show {flow.id}\n" in page
    dump = cli("job", "show", jobs["fetch"], "-o", "json").data
    assert dump["workflow"] == {
        "id": flow.id, "name": "import", "task": "fetch", "state": "started"
    }  # fmt: skip

    ran = cli("job", "show", jobs["merge"])
    assert (ran.status, ran.out) == (1, "")
    assert f"it is the job of task 'merge' of workflow {flow.id}, which waits" in ran.err
    assert f"awa workflow show {flow.id}" in ran.err


def test_cancel(cli, client, flow) -> None:
    assert cli("workflow", "cancel", flow.id, "--dry-run").out == "6 waiting and 1 started tasks\n"
    refused = cli("workflow", "cancel", flow.id)
    assert refused.status == 2
    assert f"Cancel workflow {flow.id} (import 2026-11-29, 7 open tasks)?" in refused.err
    assert client.get_workflow(flow.id).state == "open"
    ran = cli("workflow", "cancel", flow.id, "--yes")
    assert ran.out == f"Cancelled workflow {flow.id}, 1 job of it\n"
    again = cli("workflow", "cancel", flow.id, "--yes")
    assert again.status == 1
    assert "was cancelled" in again.err
    (entry,) = cli("audit", "-o", "json").data
    assert (entry["action"], entry["target"], entry["detail"]) == (
        "workflow.cancel", str(flow.id), {"jobs": 1, "name": "import"}
    )  # fmt: skip


def test_a_signal_is_sent_once(cli, client, db, flow) -> None:
    ran = cli("workflow", "signal", flow.id, "approved", "--payload", '{"by": "ann"}')
    assert ran.out == f"Sent signal 'approved' to workflow {flow.id}\n"
    again = cli("workflow", "signal", flow.id, "approved")
    assert (again.status, again.out) == (
        0, f"Not sent again: signal 'approved' to workflow {flow.id}\n"
    )  # fmt: skip
    stranger = cli("workflow", "signal", flow.id, "aproved")
    assert stranger.status == 0
    assert (
        f"No task waits for signal 'aproved' yet.  did you mean: awa workflow signal {flow.id}"
        in stranger.err
    )
    entries = cli("audit", "-o", "json").data
    assert [one["detail"] for one in entries] == [{"signal": "aproved"}, {"signal": "approved"}]
    bad = cli("workflow", "signal", flow.id, "x", "--payload", "{")
    assert bad.status == 2


def test_retry(cli, client, db, flow) -> None:
    jobs = {one.name: one.job_id for one in client.list_workflow_tasks(flow.id)}
    none = cli("workflow", "retry", flow.id, "--yes")
    assert (none.status, none.out) == (1, "")
    assert "no task of workflow" in none.err
    end(db, client, "completed", jobs["fetch"])
    parts = [one.job_id for one in client.list_workflow_tasks(flow.id, group="parts")]
    end(db, client, "failed", *parts[:2])
    assert cli("workflow", "retry", flow.id, "--dry-run").out == "parts[0]\nparts[1]\n"
    asked = cli("workflow", "retry", flow.id)
    assert asked.status == 2
    what = f"retry 2 tasks of workflow {flow.id}: parts[0] and parts[1]"
    assert f"confirmation is required to {what}" in asked.err
    ran = cli("workflow", "retry", flow.id, "--task", "parts[1]")
    assert ran.out == f"Retried 1 task of workflow {flow.id}\n"
    ran = cli("workflow", "retry", flow.id, "--yes", "-o", "json")
    assert ran.data == {"dry_run": False, "tasks": ["parts[0]"]}
    assert client.get_workflow(flow.id).failed == 0
    entries = cli("audit", "--action", "workflow", "-o", "json").data
    assert [one["detail"]["names"] for one in entries] == [["parts[0]"], ["parts[1]"]]


def test_signals_stand_in_columns(cli, client) -> None:
    with client.workflow("two") as flow:
        flow.add({}, kind="report", name="a", signal="go")
        flow.add({}, kind="report", name="b", signal="approved")
    shown = cli("workflow", "show", flow.id).out
    assert re.findall(r"· (go +not sent|approved +not sent)", shown) == [
        "go        not sent", "approved  not sent"
    ]  # fmt: skip


def test_watching_ends_with_the_workflow(database_url, client, db) -> None:
    with client.workflow("watched") as flow:
        only = flow.add(Step("x"), name="only")
    leader, follower = pty.openpty()
    running = subprocess.Popen(
        argv("workflow", "show", flow.id, "--watch", "--interval", "100ms"),
        env=environment(database_url, TERM="xterm-256color"),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    shown = b""
    while b"Ctrl-C to stop" not in shown:
        shown += os.read(leader, 65536)
    end(db, client, "completed", only.job_id)
    while True:
        try:
            shown += os.read(leader, 65536)
        except OSError:
            break
    os.close(leader)
    assert running.wait(timeout=10) == 0
    last = shown.rpartition(b"\x1b[?1049l")[2].decode()
    assert "succeeded" in last
    assert "1/1" in last


def test_watching_in_a_pipe_prints_each_page(process, database_url, client) -> None:
    with client.workflow("ended") as flow:
        flow.add(Step("x"), name="x")
    client.cancel_workflow(flow.id or 0)
    ran = process("workflow", "show", str(flow.id), "-w", "-o", "json", url=database_url)
    assert (ran.status, ran.data["workflow"]["state"]) == (0, "cancelled")


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["show", "1"], 1, "workflow not found: 1"),
        (["tasks", "1"], 1, "workflow not found: 1"),
        (["cancel", "1"], 1, "workflow not found: 1"),
        (["signal", "1", "x"], 1, "workflow not found: 1"),
        (["retry", "1"], 1, "workflow not found: 1"),
        (["show", "x"], 2, "ID"),
        (["list", "--state", "done"], 2, "unknown state of a workflow"),
        (["tasks", "1", "--state", "done"], 2, "unknown state of a task"),
    ],
)
def test_bad_lines(cli, line, status, says) -> None:
    ran = cli("workflow", *line)
    assert (ran.status, ran.out) == (status, "")
    assert says in ran.err
