"""``awa worker --health-port``: probes and metrics of a worker."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time

from fix_cli import argv, environment
from fix_wait import eventually
from serving import get

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


def test_each_process_answers_on_a_port_of_its_own(tmp_path, database_url, free_port) -> None:
    (tmp_path / "prog.py").write_text(PROGRAM)
    process = subprocess.Popen(
        argv("worker", "prog:client", "--health-port", free_port, "--processes", 2), cwd=tmp_path,
        env=environment(database_url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for port in (free_port, free_port + 1):
            ready = f"http://127.0.0.1:{port}"
            eventually(lambda ready=ready: get(ready, "/readyz")[0] == 200, timeout=20)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def test_there_must_be_a_port_for_each_process(cli) -> None:
    ran = cli("worker", "x:y", "--health-port", "65534", "--processes", "3")

    assert ran.status == 2
    assert "--health-port 65534 leaves no port for each of 3 processes" in ran.err
    assert "do: use a port up to 65533" in ran.err


def test_the_address_of_probes_is_a_url(tmp_path, database_url) -> None:
    (tmp_path / "prog.py").write_text(PROGRAM)
    process = subprocess.Popen(
        argv("worker", "prog:client", "--health-port", "[::1]:0"), cwd=tmp_path,
        env=environment(database_url), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        line = next(one for one in process.stderr if "health:" in one)
        address = re.search(r"http://\[::1\]:\d+", line)[0]
        assert eventually(lambda: get(address, "/healthz")) == (200, "ok\n")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        process.stderr.close()
