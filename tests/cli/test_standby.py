"""What the command does on a standby: it reads, and says why it changes nothing."""

from __future__ import annotations

import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually
from serving import get, serving

import awa_lib as awa

WORKER = """
import os
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])


@client.task(dict, kind="one", queue="q")
async def one(job):
    pass
"""
FIND = "postgresql://USER@HOST1,HOST2/NAME"


@pytest.fixture
def job(standby_url: str, sound_url: str) -> Iterator[int]:
    """The id of a job that the standby has."""
    with awa.Client(sound_url) as client, awa.Client(standby_url) as there:
        made = client.insert(awa.NewJob({}, kind="one", queue="q")).id
        eventually(lambda: there.get_job(made))
        yield made


def test_reads_work_and_changes_are_refused_in_a_sentence(
    process, standby_url, job, tmp_path
) -> None:
    for words in (["job", "list"], ["job", "show", job], ["queue", "stats"], ["workers"],
                  ["cron", "list"], ["dlq", "list"], ["kind", "list"],
                  ["tui", "--screen", "jobs", "--screenshot", tmp_path / "jobs.svg"]):  # fmt: skip
        ran = process(*words, url=standby_url)

        assert (ran.status, "Traceback" in ran.err) == (0, False), (words, ran)
    for words in (["job", "cancel", job], ["queue", "pause", "q"], ["job", "enqueue", "one"]):
        ran = process(*words, url=standby_url)

        assert (ran.status, "Traceback" in ran.err) == (3, False), (words, ran)
        assert "the database takes no changes" in ran.err
        assert FIND in ran.err


def test_workflows_are_shown_and_not_changed(process, standby_url, sound_url) -> None:
    with awa.Client(sound_url) as client, client.workflow("there") as flow:
        flow.add({}, kind="one", after=flow.add({}, kind="one", name="first"), signal="go")
    with awa.Client(standby_url) as there:
        eventually(lambda: there.get_workflow(flow.id))
        with pytest.raises(awa.Unavailable), there.extend_workflow(flow.id, key="k") as more:
            more.add({}, kind="one")
    for words in (["list"], ["show", flow.id], ["tasks", flow.id], ["show", flow.id, "-o", "dot"]):
        ran = process("workflow", *words, url=standby_url)
        assert (ran.status, "Traceback" in ran.err) == (0, False), (words, ran)
    for words in (["cancel", flow.id, "--yes"], ["signal", flow.id, "go"]):
        ran = process("workflow", *words, url=standby_url)
        assert (ran.status, "the database takes no changes" in ran.err) == (3, True), (words, ran)


def test_the_doctor_says_that_it_is_a_standby(process, standby_url, sound_url) -> None:
    here = process("doctor", "--check", "standby", url=standby_url)
    there = process("doctor", "--check", "standby", url=sound_url)

    assert (here.status, there.status) == (0, 0)
    assert "note: this server is a standby" in here.out
    assert FIND in here.out
    assert "standby" not in there.out.replace("--check standby", "")


def test_pages_are_shown_and_change_nothing(standby_url, job) -> None:
    with serving("serve", "--port", "0", url=standby_url) as (_, address, _):
        eventually(lambda: get(address, "/healthz"))
        for path in ("/", "/jobs", f"/jobs/{job}", "/queues", "/cron", "/workers", "/doctor",
                     "/metrics", "/api/jobs"):  # fmt: skip
            assert get(address, path)[0] == 200, path
        request = urllib.request.Request(f"{address}/api/jobs/{job}/cancel", method="POST")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=10)

        assert 400 <= refused.value.code < 600
        assert b"read-only" in refused.value.read()


def test_a_worker_waits_until_it_is_the_primary(standby_url, job, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text(WORKER)
    log = tmp_path / "log"
    env = environment(standby_url)
    env["PYTHONPATH"] += f":{tmp_path}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv("worker", "work:client"), env=env, stdout=output, stderr=output
        )
    try:
        eventually(lambda: FIND in log.read_text(), 30)
        said = log.read_text()
        with psycopg.connect(standby_url, autocommit=True) as conn:
            conn.execute("SELECT pg_promote()")
        with awa.Client(standby_url) as client:
            eventually(lambda: client.get_job(job).state == awa.JobState.Completed, 30)
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)
    finally:
        process.kill()
        process.wait()

    assert status == 0
    assert said.count("the database takes no changes") == 1
    assert "Traceback" not in log.read_text()
