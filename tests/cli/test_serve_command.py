"""``awa serve`` as a process: starting, stopping, and wrong options."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from fix_cli import environment
from fix_wait import eventually
from serving import get, serving


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
        (["--redact", "a{1," + "9" * 5_000 + "}"], "a number is too long"),
        (["--cors-origin", "https://x/y"], "is not an origin"),
        (["--cors-origin", "*"], "is not an origin"),
        (["--auth", "/nope.toml"], "cannot be used"),
        (["--port", "70000"], "70000"),
        (["--path-prefix", "awa"], "--path-prefix is not a path prefix: 'awa'"),
        (["--path-prefix", "//evil.example"], "write it like /awa"),
        (["--path-prefix", "/jobs"], "/jobs is a path of the server itself"),
        (["--trusted-proxy", "nginx"], "--trusted-proxy: 'nginx' is not an address or a network"),
        (["--trusted-proxy", "10.0.0.5/24"], "host bits"),
        (["--allowed-host", "https://jobs.example.org"], "is not a host name"),
        (["--allowed-host", "jobs.example.org:8080"], "without a scheme, a port or a path"),
        (["--host", "::ffff:192.0.2.1"], "needs --auth"),
    ],
)
def test_wrong_options_are_said(cli, line, what) -> None:
    ran = cli("serve", *line)

    assert ran.status == 2
    assert what in ran.err


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_address_it_says_has_the_prefix(database_url, workers) -> None:
    words = ["serve", "--port", "0", "--workers", workers]
    with serving(*words, url=database_url, AWA_PATH_PREFIX="/awa/") as (_, address, line):
        assert line == f"AWA UI listening on {address}\n"
        assert address.endswith("/awa")
        eventually(lambda: get(address, "/healthz")[0] == 200)
        assert 'href="/awa/jobs"' in get(address, "")[1]


def test_trusted_proxies_by_the_environment(database_url) -> None:
    known = "10.0.0.0/24, 127.0.0.1 fd00::1"
    told = {"X-Forwarded-Prefix": "/tools/awa", "Accept": "text/html"}
    words = ["serve", "--port", "0"]
    with serving(*words, url=database_url, AWA_TRUSTED_PROXY=known) as (_, address, _):
        eventually(lambda: get(address, "/healthz")[0] == 200)
        assert 'href="/tools/awa/jobs"' in get(address, "/jobs", **told)[1]


@pytest.mark.parametrize("host", ["::1", "[::1]", "LOCALHOST", "::ffff:127.0.0.1"])
def test_this_machine_needs_no_access_file_by_any_name(database_url, host) -> None:
    with serving("serve", "--port", "0", "--host", host, url=database_url) as (_, address, _):
        eventually(lambda: get(address, "/healthz")[0] == 200)
        assert get(address, "/api/capabilities")[0] == 200


SIGNALLED_EARLY = """
import signal
import awa_cli.web.server as server
from awa_cli.main import main

run = server._serve

async def signalled(*args):
    signal.raise_signal(signal.SIGTERM)
    await run(*args)

server._serve = signalled
raise SystemExit(main(["serve", "--port", "0"]))
"""


def test_a_signal_before_it_runs_is_not_lost(database_url) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED_EARLY], env=environment(database_url), timeout=60,
        capture_output=True, text=True,
    )  # fmt: skip

    assert (done.returncode, "AWA UI listening" in done.stdout) == (0, True), done.stderr


def test_the_path_of_callbacks_is_said(database_url) -> None:
    words = ["callbacks", "serve", "--port", "0", "--allow-unsigned", "--path-prefix", "/hooks/"]
    with serving(*words, url=database_url) as (process, address, _):
        said = next(line for line in process.stderr if line.startswith("callbacks:"))

    assert said == f"callbacks: {address}/hooks/ID/complete|fail|resume|heartbeat\n"


@pytest.mark.parametrize("path", ["hooks", "/hooks?x", "/{a}", "//x", "/healthz", "/a/../b"])
def test_a_wrong_path_of_callbacks_is_said(cli, path) -> None:
    ran = cli("callbacks", "serve", "--allow-unsigned", "--path-prefix", path)

    assert ran.status == 2
    assert "like /api/callbacks" in ran.err
