"""``awa worker``: finding the client, running it, keeping processes alive, reloading."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable

import psycopg
import pytest
from fix_cli import argv, environment
from fix_wait import eventually

APP = """
import os, time
from dataclasses import dataclass
import awa_lib

client = awa_lib.AsyncClient(os.environ["DATABASE_URL"])
blocking = awa_lib.Client("postgresql://localhost/x")
number = 3

@dataclass
class Send:
    to: str = ""

@client.task(Send, kind="send_email", queue="email")
async def send(job):
    pass
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "myapp").mkdir()
    (tmp_path / "myapp" / "__init__.py").touch()
    (tmp_path / "myapp" / "jobs.py").write_text(APP)
    return tmp_path


@pytest.fixture
def start(project, database_url):
    """Start ``awa worker`` in the project; stopped at the end of the test."""
    running = []

    def start(*args: object) -> subprocess.Popen[str]:
        with (project / "log").open("w") as log:
            process = subprocess.Popen(
                argv("worker", "myapp.jobs:client", *args), cwd=project,
                env=environment(database_url), stdout=log, stderr=log, text=True,
            )  # fmt: skip
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture
def log(project) -> Callable[[], str]:
    return (project / "log").read_text


def states(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        return dict(
            conn.execute("SELECT state::text, count(*) FROM awa.jobs GROUP BY 1").fetchall()
        )


def children(pid: int) -> set[int]:
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return set(map(int, file.read().split()))


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("myapp.jobs", "does not name a client"),
        ("myapp/jobs.py:client", "does not name a client"),
        ("nowhere.jobs:client", "no module 'nowhere' in "),
        ("myapp.job:client", "no module 'myapp.job' in "),
        ("myapp.jobs:cliend", "did you mean: awa worker myapp.jobs:client"),
        ("myapp.jobs:blocking", "is a blocking Client, not an AsyncClient"),
        ("myapp.jobs:number", "is a int, not an AsyncClient"),
    ],
)
def test_a_wrong_place_is_named(process, project, place, says) -> None:
    ran = process("worker", place, url="postgresql://localhost/x", cwd=project)

    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert "Traceback" not in ran.err


def test_a_fault_of_the_module_is_shown_from_its_first_line(process, project) -> None:
    (project / "broken.py").write_text("def f():\n    return 1 / 0\n\nf()\n")

    ran = process("worker", "broken:client", cwd=project)

    first, *_ = ran.err.splitlines()[1:]
    assert ran.status == 2
    assert first == f'  File "{project}/broken.py", line 4, in <module>'
    assert "importlib" not in ran.err
    assert "why: ZeroDivisionError: division by zero" in ran.err


def test_a_missing_import_of_the_module_is_not_taken_for_the_module(process, project) -> None:
    (project / "needy.py").write_text("import no_such_package\n")

    ran = process("worker", "needy:client", cwd=project)

    assert "cannot import module 'needy'" in ran.err
    assert "why: it imports 'no_such_package', which is not installed" in ran.err


def test_a_module_without_its_url_gets_the_ways_to_give_one(process, project) -> None:
    ran = process("worker", "myapp.jobs:client", cwd=project)

    assert ran.status == 2
    assert "do: set DATABASE_URL, or pass --database-url" in ran.err


def test_a_queue_nobody_handles_is_a_typo(process, project) -> None:
    ran = process(
        "worker", "myapp.jobs:client", "--queue", "emial", url="postgresql://localhost/x",
        cwd=project,
    )  # fmt: skip

    assert ran.status == 2
    assert "error: no handler declares the queue 'emial'" in ran.err
    assert "do: did you mean: --queue email" in ran.err


@pytest.mark.parametrize(
    "options", [["--queue", "email=0"], ["--queue", "=3"], ["--processes", "0"],
                ["--concurrency", "0"], ["--reload", "--processes", "2"]]
)  # fmt: skip
def test_options_that_make_no_sense(process, project, options) -> None:
    ran = process("worker", "myapp.jobs:client", *options, cwd=project)

    assert (ran.status, ran.out) == (2, "")


def test_a_client_with_another_database_is_refused(process, project) -> None:
    source = APP.replace('os.environ["DATABASE_URL"]', '"postgresql://u:hunter2@h/other"')
    (project / "fixed.py").write_text(source)

    ran = process(
        "worker", "fixed:client", "--database-url", "postgresql://localhost/x", cwd=project
    )

    assert ran.status == 2
    assert "the client uses u@h:5432/other, not the database of the command line" in ran.err
    assert "hunter2" not in ran.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_works_until_a_signal(start, log, database_url, add, number) -> None:
    for _ in range(20):
        add()

    worker = start("--concurrency", 3)

    eventually(lambda: states(database_url) == {"completed": 20})
    worker.send_signal(number)
    assert worker.wait(timeout=20) == 0
    assert log().startswith("database: ")
    assert "Traceback" not in log()


def test_a_dead_process_is_replaced_and_all_stop_together(start, log, database_url, add) -> None:
    supervisor = start("--processes", 2)
    eventually(lambda: log().count("worker started") == 2)
    before = children(supervisor.pid)

    os.kill(min(before), signal.SIGKILL)

    eventually(lambda: log().count("worker started") == 3)
    after = children(supervisor.pid)
    assert (len(after), len(after & before)) == (2, 1)
    assert "worker 1 ended with signal SIGKILL" in log()
    add()
    eventually(lambda: states(database_url) == {"completed": 1})
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(timeout=20) == 0
    assert log().count("worker stopped") == 2
    assert "Traceback" not in log()


def test_processes_drain_when_their_supervisor_is_killed(start, log) -> None:
    supervisor = start("--processes", 2)
    eventually(lambda: log().count("worker started") == 2)

    supervisor.kill()

    eventually(lambda: log().count("worker stopped") == 2)


def test_a_second_signal_kills_the_processes(start, log, project, database_url, add) -> None:
    slow = APP.replace("    pass", "    time.sleep(60)").replace("async def", "def")
    (project / "myapp" / "jobs.py").write_text(slow)
    add()
    supervisor = start("--processes", 2, "--drain-timeout", 50)
    eventually(lambda: states(database_url) == {"running": 1})

    supervisor.send_signal(signal.SIGINT)
    eventually(lambda: "a second signal stops them at once" in log())
    started = time.monotonic()
    supervisor.send_signal(signal.SIGINT)

    assert supervisor.wait(timeout=20) == 130
    assert time.monotonic() - started < 10


def test_processes_that_cannot_start_are_not_restarted(process, project) -> None:
    (project / "broken.py").write_text("1 / 0\n")

    ran = process("worker", "broken:client", "--processes", 2, cwd=project)

    assert ran.status == 2
    assert "restarting in" not in ran.err


def test_reload_restarts_on_a_change_and_survives_a_broken_one(
    start, log, project, database_url, add
) -> None:
    file = project / "myapp" / "jobs.py"
    worker = start("--reload")
    eventually(lambda: log().count("worker started") == 1)

    file.write_text(APP + "\nx = (\n")
    eventually(lambda: "it restarts when a file changes" in log())
    assert "SyntaxError" in log()
    assert worker.poll() is None

    file.write_text(APP + "\n# mended\n")
    eventually(lambda: log().count("worker started") == 2)
    assert f"{file.relative_to(project)} changed: restarting" in log()
    add()
    eventually(lambda: states(database_url) == {"completed": 1})
