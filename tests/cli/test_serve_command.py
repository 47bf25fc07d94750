"""``awa serve`` as a process, and what goes with it: access, redact, the health port."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest
from fix_cli import argv, environment
from fix_wait import eventually


@contextmanager
def serving(*args, url, **env):
    """Start the command; give (process, the address it says it listens on)."""
    process = subprocess.Popen(
        argv(*args), env=environment(url, **env), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + process.stderr.read()
        yield process, found[0], line
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        finally:
            process.kill()
            process.stdout.close()
            process.stderr.close()


def get(address: str, path: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address + path, headers=headers), timeout=10
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_a_database_that_is_not_there_is_said_at_once() -> None:
    url = "postgresql://nobody@127.0.0.1:1/app"
    with serving("serve", "--port", "0", url=url) as (process, _, _):
        said = [process.stderr.readline() for _ in range(2)]

    assert "not ready: cannot connect to the database at 127.0.0.1:1" in said[1]


def test_it_serves_and_ends_well_at_a_signal(database_url) -> None:
    with serving("serve", "--port", "0", url=database_url) as (process, address, line):
        assert line == f"AWA UI listening on {address}\n"
        assert eventually(lambda: get(address, "/healthz"))[0] == 200
        assert json.loads(get(address, "/readyz")[1]) == {"ready": True, "reasons": []}
        assert get(address, "/api/stats")[0] == 200
        assert get(address, "/")[0] == 200
        stream = urllib.request.urlopen(f"{address}/api/events", timeout=10)
        assert stream.readline()
        process.send_signal(signal.SIGTERM)
        # The stream that is open does not keep it.
        assert process.wait(timeout=8) == 0


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_read_only_by_the_environment(database_url, value) -> None:
    with serving("serve", "--port", "0", url=database_url, AWA_READ_ONLY=value) as (
        _,
        address,
        line,
    ):
        assert line.endswith(" (forced read-only)\n")
        eventually(lambda: get(address, "/healthz"))
        assert json.loads(get(address, "/api/capabilities")[1])["read_only"] is True


def test_several_processes_behind_one_port(database_url) -> None:
    with serving("serve", "--port", "0", "--workers", "2", url=database_url) as (
        process,
        address,
        _,
    ):
        eventually(lambda: get(address, "/healthz")[0] == 200)
        children = subprocess.run(
            ["ps", "--ppid", str(process.pid), "-o", "pid="], capture_output=True, text=True
        ).stdout.split()
        assert len(children) == 2
        assert {get(address, "/api/stats")[0] for _ in range(10)} == {200}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
    for child in children:
        assert not os.path.exists(f"/proc/{child}")


def test_a_port_in_use_is_said(database_url, process) -> None:
    with serving("serve", "--port", "0", url=database_url) as (_, address, _):
        port = address.rpartition(":")[2]
        for more in ([], ["--workers", "2"]):
            ran = process("serve", "--port", port, *more, url=database_url)
            assert ran.status == 2
            assert f"cannot listen on 127.0.0.1:{port}" in ran.err
            assert "--port" in ran.err


def test_without_the_extra_it_says_what_to_install(cli, monkeypatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "starlette" else real(name)
    )
    for line in (["serve"], ["callbacks", "serve"]):
        ran = cli(*line)
        assert ran.status == 2
        assert len(ran.err.strip().splitlines()) == 3
        assert "pip install 'awa-toolkit[serve]'" in ran.err


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (["--redact", "("], "is not a regular expression"),
        (["--cors-origin", "https://x/y"], "is not an origin"),
        (["--cors-origin", "*"], "is not an origin"),
        (["--auth", "/nope.toml"], "cannot be used"),
        (["--port", "70000"], "70000"),
    ],
)
def test_wrong_options_are_said(cli, line, what) -> None:
    ran = cli("serve", *line)

    assert ran.status == 2
    assert what in ran.err


def test_access_is_given_listed_and_taken(offline, tmp_path, monkeypatch, database_url) -> None:
    import io
    import sys

    path = tmp_path / "access.toml"
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse\n"))
    assert offline("access", "user", "alice", "--scope", "operate", "--file", path).status == 0
    token = offline("access", "token", "ci", "--file", path).out.strip()
    listed = offline("access", "list", "--file", path, "-o", "json").data

    assert (path.stat().st_mode & 0o777) == 0o600
    assert "correct horse" not in path.read_text()
    assert token not in path.read_text()
    assert [(one["name"], one["kind"], one["scope"]) for one in listed] == [
        ("alice", "user", "operate"), ("ci", "token", "read"),
    ]  # fmt: skip
    with serving("serve", "--port", "0", "--auth", path, url=database_url) as (_, address, _):
        eventually(lambda: get(address, "/healthz"))
        assert get(address, "/api/stats")[0] == 401
        assert get(address, "/api/stats", Authorization=f"Bearer {token}")[0] == 200
    assert offline("access", "remove", "ci", "--file", path).status == 0
    assert offline("access", "remove", "ci", "--file", path).status == 1
    assert len(offline("access", "list", "--file", path, "-o", "json").data) == 1


def test_a_short_password_and_a_strange_name_are_refused(offline, tmp_path, monkeypatch) -> None:
    import io
    import sys

    path = tmp_path / "access.toml"
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert offline("access", "user", "alice", "--file", path).status == 2
    assert offline("access", "token", "a b", "--file", path).status == 2
    assert not path.exists()


SECRET = '{"password": "s3cret", "user": "u"}'


def test_values_are_hidden_in_commands(cli, add, monkeypatch) -> None:
    job_id = add("failed", args=SECRET, metadata=SECRET, progress=f'{{"metadata": {SECRET}}}')
    lines = [
        ["job", "list", "-o", "json"], ["job", "list", "-o", "wide"], ["job", "show", job_id],
        ["job", "dump", job_id], ["job", "dump-run", job_id], ["job", "list", "--all", "-o", "csv"],
    ]  # fmt: skip
    for line in lines:
        assert "s3cret" in cli(*line).out, line
        hidden = cli(*line, "--redact", "PASS")
        assert hidden.status == 0
        assert "s3cret" not in hidden.out, line
        assert "***" in hidden.out, line
    monkeypatch.setenv("AWA_REDACT", "password")
    assert "s3cret" not in cli("job", "dump", job_id).out
    cli("dlq", "move", job_id)
    for line in (["dlq", "list", "-o", "json"], ["dlq", "show", job_id]):
        assert "s3cret" not in cli(*line).out
    assert cli("job", "list", "--where", "args.password=s3cret").status == 2


PROGRAM = """
import os, time
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])


@client.task(dict, kind="block")
async def block(job):
    time.sleep(job.args["seconds"])
"""


def test_a_worker_answers_probes_and_says_that_a_handler_blocks_it(
    tmp_path, database_url, add
) -> None:
    (tmp_path / "prog.py").write_text(PROGRAM)
    process = subprocess.Popen(
        argv("worker", "prog:client", "--health-port", "0"), cwd=tmp_path,
        env=environment(database_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = next(one for one in process.stderr if "health:" in one)
        address = re.search(r"http://[^/]+", line)[0]
        eventually(lambda: json.loads(get(address, "/readyz")[1])["ready"], timeout=20)
        assert "awa_up 1" in get(address, "/metrics")[1]
        add("available", kind="block", queue="default", args='{"seconds": 6}')
        blocked = eventually(
            lambda: (found := get(address, "/readyz"))[0] == 503 and found[1], timeout=20
        )
        assert "blocked by a handler" in blocked
        assert get(address, "/healthz") == (200, "ok\n")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        process.stdout.close()
        process.stderr.close()


def test_all_tell_the_same_of_a_duty_in_trouble(tmp_path, database_url, look, cli) -> None:
    (tmp_path / "prog.py").write_text(PROGRAM)
    process = subprocess.Popen(
        argv("worker", "prog:client", "--health-port", "0"), cwd=tmp_path,
        env=environment(database_url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = next(one for one in process.stderr if "health:" in one)
        address = re.search(r"http://[^/]+", line)[0]
        eventually(lambda: get(address, "/readyz")[0] == 200, timeout=20)
        look("ALTER TABLE awa.queue_policies RENAME TO gone")
        look("NOTIFY awa_policy")
        began = time.monotonic()
        alive = eventually(lambda: (found := get(address, "/healthz"))[0] == 503 and found[1])
        ready = get(address, "/readyz")
        eventually(
            lambda: look("SELECT healthy FROM awa.runtime_instances") == [{"healthy": False}]
        )
        assert time.monotonic() - began < 12
        assert "policies" in alive
        assert ready[0] == 503
        assert "a duty fails or hangs: policies" in ready[1]
        assert "degraded" in cli("workers").out
        assert "is not healthy" in cli("doctor").out
        look("ALTER TABLE awa.gone RENAME TO queue_policies")
        began = time.monotonic()
        eventually(lambda: get(address, "/healthz") == (200, "ok\n"))
        eventually(lambda: look("SELECT healthy FROM awa.runtime_instances") == [{"healthy": True}])
        assert get(address, "/readyz")[0] == 200
        assert time.monotonic() - began < 12
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        process.stdout.close()
        process.stderr.close()


def test_a_health_port_goes_with_one_process(cli) -> None:
    ran = cli("worker", "x:y", "--health-port", "8080", "--processes", "2")

    assert ran.status == 2
    assert "--health-port cannot be used with several processes" in ran.err
