"""What ``awa worker`` and ``awa serve`` write to stderr: lines for people, or only JSON."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually
from serving import get, serving

from awa_cli.worker.logs import JsonLines
from awa_lib.logs import configure

APP = """
import asyncio, gc, logging, os, sys, threading, warnings
import awa_lib

warnings.warn("said at import")
print("printed at import", file=sys.stderr)
{setup}
client = awa_lib.AsyncClient(os.environ["DATABASE_URL"])
client.queue("email", concurrency=4, rate_limit=(1000, 0))

@client.task(dict, kind="fails", queue="email")
async def fails(job):
    raise ConnectionError("refused")

@client.task(dict, kind="noisy", queue="email")
async def noisy(job):
    warnings.warn("said in a job")
    logging.getLogger("shop").warning("with a field", extra={{"order": 7}})
    logging.getLogger("uvicorn.error").error("as uvicorn does")
    async def lost():
        raise LookupError("of a lost task")
    task = asyncio.create_task(lost())
    await asyncio.wait([task])
    del task
    gc.collect()
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    print("two\\nlines", file=sys.stderr)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP.format(setup=""))
    return tmp_path


@pytest.fixture
def start(project: Path, database_url: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running = []

    def start(*args: object, **env: str) -> subprocess.Popen[str]:
        with (project / "log").open("w") as log:
            process = subprocess.Popen(
                argv(*args), cwd=project, env=environment(database_url, **env), stderr=log,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def log(project: Path) -> Callable[[], str]:
    return (project / "log").read_text


def states(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        return dict(
            conn.execute("SELECT state::text, count(*) FROM awa.jobs GROUP BY 1").fetchall()
        )


def objects(text: str) -> list[dict[str, object]]:
    """Every line is a JSON object."""
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(isinstance(line, dict) for line in lines)
    return lines


def ended(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=20)


@pytest.mark.parametrize("processes", [1, 2])
def test_stderr_is_only_json(start, log, add, database_url, processes) -> None:
    add(kind="fails", max_attempts=1)
    add(kind="noisy")
    worker = start(
        "worker", "shop:client", "--log-format", "json", "--processes", processes,
        "--health-port", 0,
    )  # fmt: skip
    eventually(lambda: states(database_url) == {"failed": 1, "completed": 1}, timeout=20)
    eventually(lambda: log().count("worker started") == processes, timeout=20)
    assert ended(worker) == 0

    lines = objects(log())
    by_text = {str(line["message"]).partition("\n")[0]: line for line in lines}
    assert {line["level"] for line in lines} >= {"INFO", "WARNING", "ERROR"}
    (failed,) = [line for line in lines if line.get("job_kind") == "fails"]
    assert (failed["level"], failed["attempt"]) == ("ERROR", "1 of 1")
    assert failed["exception"].startswith("Traceback ")
    assert failed["exception"].endswith("ConnectionError: refused")
    assert by_text["with a field"]["order"] == 7
    assert by_text["as uvicorn does"]["logger"] == "uvicorn.error"
    assert "LookupError" in by_text["Task exception was never retrieved"]["exception"]
    assert "ZeroDivisionError" in by_text["a thread ends with an error"]["exception"]
    assert by_text["two"]["message"] == "two\nlines"
    assert by_text["printed at import"]["logger"] == "stderr"
    said = [str(line["message"]) for line in lines]
    assert any("UserWarning: said at import" in text for text in said)
    (warned,) = [line for line in lines if "UserWarning: said in a job" in str(line["message"])]
    assert (warned["logger"], warned["job_kind"]) == ("py.warnings", "noisy")
    assert any(text.startswith("health: http://") for text in said)
    (queue,) = [line for line in lines if line.get("slots") == 4][:1]
    assert queue["kinds"] == ["fails", "noisy"]


def test_an_error_of_the_start_is_one_object(process, project) -> None:
    ran = process("worker", "shop:client", "--log-format", "json", cwd=project)

    *before, error = objects(ran.err)
    assert ran.status == 2
    assert error["level"] == "ERROR"
    assert "do: set DATABASE_URL" in error["message"]
    assert any("Traceback" in str(line["message"]) for line in before)


def test_an_error_of_the_command_line_is_json_too(process) -> None:
    ran = process("worker", "shop:client", "--processes", "0", "--log-format", "json")

    (line,) = objects(ran.err)
    assert (ran.status, line["level"]) == (2, "ERROR")


def test_a_program_that_configures_logging_keeps_its_form_inside_of_json(
    start, log, project, add, database_url
) -> None:
    setup = 'logging.basicConfig(level="INFO", format="OWN %(name)s %(message)s")'
    (project / "shop.py").write_text(APP.format(setup=setup))
    add(kind="fails", max_attempts=1)
    worker = start("worker", "shop:client", AWA_LOG_FORMAT="json")
    eventually(lambda: states(database_url) == {"failed": 1}, timeout=20)
    assert ended(worker) == 0

    own = [str(line["message"]) for line in objects(log()) if "OWN" in str(line["message"])]
    assert any(one.startswith("OWN awa_lib.runtime.announcements worker stopped") for one in own)
    assert any("failed for good" in one and "Traceback" in one for one in own)


def test_text_names_each_queue_once(start, log, add, database_url) -> None:
    add(kind="fails", max_attempts=1)
    worker = start("worker", "shop:client")
    eventually(lambda: states(database_url) == {"failed": 1}, timeout=20)
    assert ended(worker) == 0

    text = log()
    assert text.count("queue email: 4 slots; at most 1000 jobs/s; deadline 300 s; kinds: f") == 1
    assert "job_id=" not in text  # the message names it
    assert "ConnectionError: refused\nTraceback (most recent call last):\n" in text


def test_a_server_writes_json(database_url) -> None:
    words = ("serve", "--port", 0, "--log-format", "json")
    with serving(*words, url=database_url) as (process, address, _):
        assert eventually(lambda: get(address, "/healthz"))[0] == 200
        assert ended(process) == 0
        lines = objects(process.stderr.read())

    assert [line for line in lines if str(line["message"]).startswith("database: ")]


def test_lines_are_whole_whoever_writes_them() -> None:
    out = io.StringIO()
    stream = JsonLines(out)
    print("a", "b", file=stream)
    stream.write('{"own": 1}\n')
    stream.write("\n")
    stream.write("{not json\n")
    stream.write("unfinished")
    assert "unfinished" not in out.getvalue()
    stream.flush()
    threads = [
        threading.Thread(target=lambda: [print("x" * 100, file=stream) for _ in range(200)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = objects(out.getvalue())
    assert [line.get("message") for line in lines[:4]] == ["a b", None, "{not json", "unfinished"]
    assert lines[1] == {"own": 1}
    assert len(lines) == 4 + 800
    assert {line["message"] for line in lines[4:]} == {"x" * 100}
    assert not stream.isatty()


def test_configure_leaves_a_configured_program_alone() -> None:
    """The root logger of this process has the handlers of pytest."""
    before = list(logging.getLogger().handlers)
    assert before

    assert not configure()
    assert logging.getLogger().handlers == before


CONFIGURED_LEVEL = """
import logging, sys
from awa_lib.logs import configure
logging.getLogger("awa_lib").setLevel("ERROR")
assert configure() and not configure()
logging.getLogger("awa_lib.x").warning("quiet")
logging.getLogger("awa_lib.x").error("loud", extra={"n": 1})
logging.getLogger("shop").info("quiet")
logging.getLogger("shop").warning("%(n)s is named", {"n": 2}, extra={"n": 2})
"""


def test_a_level_that_the_program_has_set_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CONFIGURED_LEVEL], capture_output=True, text=True, timeout=30,
        env={**os.environ},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert [line.partition(": ")[2] for line in done.stderr.splitlines()] == [
        "loud  n=1",
        "2 is named",
    ]


WRITTEN_BELOW = """
import logging, sys
from awa_lib.logs import configure
own = logging.StreamHandler()
own.setLevel("WARNING")
logging.getLogger("django").addHandler(own)
logging.getLogger("django").setLevel("INFO")
assert configure()
logging.getLogger("django.tasks").warning("once")
logging.getLogger("django.tasks").info("below the level of the other")
logging.getLogger("shop").warning("of another")
own.addFilter(lambda record: False)
logging.getLogger("django.tasks").warning("refused by the other")
"""


def test_what_another_handler_has_written_is_not_repeated() -> None:
    """Django has a handler of its own for its loggers while DEBUG is on."""
    done = subprocess.run(
        [sys.executable, "-c", WRITTEN_BELOW], capture_output=True, text=True, timeout=30,
        env={**os.environ},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert [line.rpartition(": ")[2] for line in done.stderr.splitlines()] == [
        "once", "below the level of the other", "of another", "refused by the other"
    ]  # fmt: skip
