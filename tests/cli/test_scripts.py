"""The recipes of docs/guides/scripts.md really run, and do what the guide says."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading

import psycopg
import pytest
import yaml
from fix_cli import ROOT, built, environment
from fix_wait import eventually

from awa_cli.errors import ExitCode
from awa_lib.cron import CronExpression

TEXT = (ROOT / "docs" / "guides" / "scripts.md").read_text(encoding="utf-8")
WORKER = """
import asyncio, os
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])


@client.task(dict, kind="report")
async def report(job):
    if job.args.get("day") == "never":
        await asyncio.sleep(3600)
    if job.args.get("day") == "bad":
        raise awa.TerminalError("no such day")
"""


def blocks(heading: str, language: str = "sh") -> list[str]:
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S)
    assert section is not None
    return re.findall(rf"^```{language}\n(.*?)^```", section[1], re.M | re.S)


@pytest.fixture
def shell(tmp_path, database_url):
    """Run a script with ``awa`` on the path, on the database of the test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    awa = programs / "awa"
    awa.write_text(f'#!/bin/sh\nexec {sys.executable} -m awa_cli "$@"\n')
    awa.chmod(0o755)

    def run(script: str, url: str = database_url) -> subprocess.CompletedProcess[str]:
        path = f"{programs}:{os.environ['PATH']}"
        return subprocess.run(
            ["sh", "-eu", "-c", script], env=environment(url, PATH=path), cwd=tmp_path,
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


@pytest.fixture
def worker(tmp_path, database_url):
    """Start ``awa worker`` on the handlers above; stop it at the end."""
    (tmp_path / "reports.py").write_text(WORKER)
    process = subprocess.Popen(
        [sys.executable, "-m", "awa_cli", "worker", "reports:client", "--queue", "default"],
        env=environment(database_url), cwd=tmp_path, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


def accepted(line: list[str]) -> str:
    """Parse a command line as ``awa`` does, without running it; return the command."""
    assert line[0].rpartition("/")[2] == "awa"
    command, arguments, ctx, path = built(), line[1:], None, "awa"
    while True:
        ctx = command.make_context(path.rpartition(" ")[2], list(arguments), parent=ctx)
        if not hasattr(command, "resolve_command"):
            return path.removeprefix("awa ")
        name, command, arguments = command.resolve_command(ctx, [*ctx._protected_args, *ctx.args])
        path += f" {name}"


def test_statuses_are_those_of_the_program() -> None:
    table = re.findall(r"^\| (\d+) \|", TEXT, re.M)

    assert table == [str(int(code)) for code in ExitCode]


def test_migrate_in_ci(shell, empty_database_url) -> None:
    check, deploy = blocks("Migrate in CI")

    assert shell(check, empty_database_url).returncode == ExitCode.SCHEMA
    for _ in range(2):
        assert shell(deploy, empty_database_url).returncode == 0
    assert shell(check, empty_database_url).returncode == 0


@pytest.mark.parametrize(
    ("day", "timeout", "status", "says"),
    [
        ("2030-01-31", "10m", 0, "the report is there"),
        ("bad", "10m", 1, "no such day"),
        ("never", "500ms", 1, "it still runs"),
    ],
)
def test_wait_for_a_job(shell, worker, day, timeout, status, says) -> None:
    (script,) = blocks("Wait for a job")

    ran = shell(script.replace("2030-01-31", day).replace("10m", timeout))

    assert ran.returncode == status, ran.stderr
    assert says in ran.stdout + ran.stderr


def test_drain_before_a_deploy(shell, add, db) -> None:
    (script,) = blocks("Drain before a deploy")
    job_id = add("running", queue="email")
    state = "SELECT state::text, (SELECT paused FROM awa.queue_meta) FROM awa.jobs WHERE id = %s"
    seen = []

    def finish() -> None:
        """End the job once the queue is paused: only then can the script go on."""
        eventually(lambda: db.execute("SELECT 1 FROM awa.queue_meta WHERE paused").fetchone())
        seen.append(db.execute(state, [job_id]).fetchone())
        db.execute(
            "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() WHERE id = %s",
            [job_id],
        )

    thread = threading.Thread(target=finish)
    thread.start()
    ran = shell(script.replace("# Deploy here.", "awa job list -o json; awa queue list -o json"))
    thread.join()

    assert ran.returncode == 0, ran.stderr
    assert seen == [("running", True)]
    assert '"state": "completed"' in ran.stdout
    assert '"paused": true' in ran.stdout
    assert db.execute(state, [job_id]).fetchone() == ("completed", False)


def test_drain_ends_when_the_database_is_away(shell) -> None:
    (script,) = blocks("Drain before a deploy")

    assert shell(script, "postgresql://u@127.0.0.1:1/x").returncode == ExitCode.UNREACHABLE


def test_alert_on_lag(shell, add) -> None:
    (script,) = blocks("Alert when jobs wait too long")
    quiet = shell(script)
    add("available", queue="reports", run_at="2020-01-01T00:00Z")
    loud = shell(script)

    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    assert (loud.returncode, loud.stdout) == (ExitCode.WRONG, "")
    assert loud.stderr.startswith("error: reports: lag>60s holds; the value is ")


def test_crontab(shell, add, db) -> None:
    (table,) = blocks("Alert when jobs wait too long", "text")
    add("cancelled", created_at="2020-01-01T00:00Z", finalized_at="2020-01-01T00:00Z")
    add("cancelled", finalized_at="now")
    variable, *entries = table.splitlines()
    assert re.fullmatch(r"[A-Z_]+=\S+", variable)

    for entry in entries:
        *fields, command = re.split(r"\s+", entry, maxsplit=5)
        CronExpression(" ".join(fields), "UTC")
        assert "%" not in command  # cron would cut there
        assert shell(command).returncode == 0, command
    assert db.execute("SELECT count(*) FROM awa.jobs").fetchone() == (1,)


def test_kubernetes(shell, worker) -> None:
    (text,) = blocks("Kubernetes", "yaml")
    pod = yaml.safe_load(text)["spec"]["template"]["spec"]
    (init,), (container,) = pod["initContainers"], pod["containers"]
    command = container["command"]
    startup = container["startupProbe"]["exec"]["command"]
    readiness = container["readinessProbe"]["exec"]["command"]

    assert accepted(command) == "worker"
    assert (
        float(command[command.index("--drain-timeout") + 1]) < pod["terminationGracePeriodSeconds"]
    )
    assert shell(shlex.join(init["command"])).returncode == 0
    assert shell(shlex.join(readiness)).returncode == 0
    assert shell(shlex.join(readiness), "postgresql://u@127.0.0.1:1/x").returncode == 3
    # The worker of this test works the queue default.
    here = shlex.join(startup).replace("email", "default")
    until = f"for _ in $(seq 100); do {here} && exit 0; sleep 0.1; done; exit 1"
    assert shell(shlex.join(startup)).returncode == ExitCode.WRONG
    assert shell(until).returncode == 0


def units(shell) -> dict[str, str]:
    names = re.findall(r"^`/etc/systemd/system/(\S+)`", TEXT, re.M)
    return dict(zip(names, blocks("systemd", "ini"), strict=True))


def test_systemd(shell, tmp_path) -> None:
    found = units(shell)
    program = tmp_path / "bin" / "awa"
    lines = []
    for text in found.values():
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.optionxform = str
        unit.read_string(text)
        if unit.has_section("Service"):
            lines += [v for k, v in unit["Service"].items() if k.startswith("ExecStart")]
    # systemd takes > as it is: no shell reads these lines.
    assert [accepted(shlex.split(line)) for line in lines] == ["migrate", "worker", "queue stats"]
    assert set(found) == {"awa-worker.service", "awa-lag.service", "awa-lag.timer"}
    if shutil.which("systemd-analyze") is None:
        return
    for name, text in found.items():
        # As root's user, whom every machine has.
        here = text.replace("/usr/local/bin/awa", str(program)).replace("User=app", "User=root")
        (tmp_path / name).write_text(here)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *[str(tmp_path / name) for name in found]],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    # It warns about units of the machine too.
    assert [line for line in done.stderr.splitlines() if "awa-" in line] == []


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_repair_unattended(shell, place, database_url, db) -> None:
    (script,) = blocks("Repair unattended")
    code = [line for line in script.splitlines() if line and not line.startswith("#")]
    assert len(code) <= 20
    url = place().url
    again = "UPDATE awa.jobs_hot SET errors = ARRAY[jsonb_build_object('error', %s::text)] WHERE id = 102"
    with psycopg.connect(url, autocommit=True) as conn:
        why = "TimeoutError: mail.example.org:25 did not answer within 10 s"
        conn.execute(again, [f"{why}\nTraceback"])

        ran = shell(script, url)

        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.splitlines() == [
            f"job 103 of kind send_email failed: {why}", "Paused queue 'email'",
            "2 jobs failed for this reason", "Retried job 103", "Retried job 102",
            "they run again after: awa queue resume email",
        ]  # fmt: skip
        paused = conn.execute("SELECT paused FROM awa.queue_meta WHERE queue = 'email'").fetchone()
        assert paused == (True,)
    assert shell(script, url).stdout == "nothing failed\n"
    assert shell(script, "postgresql://u@127.0.0.1:1/x").returncode == ExitCode.UNREACHABLE
