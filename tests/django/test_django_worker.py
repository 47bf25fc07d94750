"""``manage.py awa_worker`` and ``awa_migrate``, and tasks of processes that die."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fix_django import Project, oldest_and_newest
from fix_examples import stop
from fix_wait import eventually
from fix_worker import Rows

pytestmark = oldest_and_newest

RESULT = """
import json
result = tasks.{task}.get_result({id!r})
print(json.dumps([result.status, result.attempts, result.worker_ids,
                  [one.exception_class_path for one in result.errors],
                  result.return_value if result.status == "SUCCESSFUL" else None]))
"""


def enqueue(project: Project, call: str) -> str:
    """Enqueue a task in a process of its own; return its id."""
    (found,) = project.ask(f"print(tasks.{call}.id)")
    return found


def result(project: Project, task: str, job_id: str) -> list[Any]:
    """Return status, attempts, workers, errors and return value, as another process sees them."""
    return json.loads(project.ask(RESULT.format(task=task, id=job_id))[0])


def ended(rows: Rows, *ids: str, timeout: float = 30) -> None:
    """Wait until jobs have ended."""
    wanted = [int(one) for one in ids]
    statement = (
        "SELECT count(*) AS n FROM awa.jobs"
        " WHERE id = ANY (%s) AND state IN ('completed', 'failed', 'cancelled')"
    )
    eventually(lambda: rows.one(statement, wanted)["n"] == len(wanted), timeout=timeout)


def test_a_worker_runs_the_tasks_of_another_process(project: Project, rows: Rows) -> None:
    project.manage("migrate", "--run-syncdb", "--database", "default")
    ids = project.ask(
        "for task in (tasks.add, tasks.aadd):\n    print(task.enqueue(1, b=2).id)\n"
        "print(tasks.note.enqueue('a').id, tasks.anote.enqueue('b').id, tasks.send.enqueue(5).id)"
    )
    plain, asynchronous, others = ids
    note, anote, sent = others.split()
    worker = project.worker()
    ended(rows, plain, asynchronous, note, anote, sent)
    status, attempts, workers, errors, value = result(project, "add", plain)
    stop(worker)

    assert (status, attempts, errors, value) == ("SUCCESSFUL", 1, [], 3)
    assert workers == [f"{os.uname().nodename}:{worker.pid}"]
    assert result(project, "aadd", asynchronous)[4] == 3
    assert rows.one("SELECT count(*) AS n FROM app_note") == {"n": 2}
    assert result(project, "send", sent)[4] == 5


def test_a_rolled_back_task_never_runs(project: Project, rows: Rows) -> None:
    (left,) = project.ask(
        "with transaction.atomic():\n"
        "    lost = tasks.add.enqueue(1)\n"
        "    transaction.set_rollback(True)\n"
        "with transaction.atomic():\n"
        "    kept = tasks.add.enqueue(2)\n"
        "print(kept.id)"
    )

    assert rows.all("SELECT id FROM awa.jobs") == [{"id": int(left)}]


def test_a_task_is_not_seen_before_the_commit(project: Project, rows: Rows) -> None:
    project.ask(
        "import psycopg, os\n"
        "with transaction.atomic(), psycopg.connect(os.environ['DATABASE_URL']) as other:\n"
        "    tasks.add.enqueue(1)\n"
        "    assert other.execute('SELECT count(*) FROM awa.jobs').fetchone() == (0,)\n"
    )

    assert rows.states() == {"available": 1}


def test_a_killed_worker_leaves_its_task_to_the_next(
    project: Project, rows: Rows, tmp_path: Path
) -> None:
    job = enqueue(project, f"hold.enqueue({str(tmp_path)!r})")
    first = project.worker()
    eventually((tmp_path / "begun").exists, timeout=30)
    running = result(project, "hold", job)
    os.killpg(first.pid, signal.SIGKILL)
    second = project.worker()
    ended(rows, job)
    status, attempts, workers, errors, value = result(project, "hold", job)
    stop(second)

    assert running[0:2] == ["RUNNING", 1]
    assert (status, attempts, value) == ("SUCCESSFUL", 2, 2)
    assert errors == ["awa_lib.django.WorkerDied"]
    assert [one.rpartition(":")[2] for one in workers] == [str(first.pid), str(second.pid)]


def test_a_cancelled_task_has_failed(project: Project, rows: Rows, tmp_path: Path) -> None:
    job = enqueue(project, f"ahold.enqueue({str(tmp_path)!r})")
    worker = project.worker()
    eventually((tmp_path / "begun").exists, timeout=30)
    project.ask(f"import awa_lib\nawa_lib.Client.on(connection).cancel({job})")
    ended(rows, job)
    status, attempts, _, errors, _ = result(project, "ahold", job)
    stop(worker)

    assert (status, attempts, errors) == ("FAILED", 1, ["awa_lib.django.JobCancelled"])


def test_connections_are_closed_after_each_task(project: Project, rows: Rows) -> None:
    """As Django does after a request, without CONN_MAX_AGE."""
    ids = [enqueue(project, "pid.enqueue()") for _ in range(2)]
    worker = project.worker("--queue", "default=1")
    ended(rows, *ids)
    first, second = (result(project, "pid", job)[4] for job in ids)
    left = "SELECT 1 FROM pg_stat_activity WHERE pid = ANY (%s)"
    eventually(lambda: rows.all(left, [first, second]) == [])
    stop(worker)

    assert first != second


def test_async_tasks_have_connections_of_their_own(
    project: Project, rows: Rows, tmp_path: Path
) -> None:
    ids = project.ask(f"for _ in 1, 2:\n    print(tasks.apid.enqueue({str(tmp_path)!r}).id)")
    worker = project.worker()
    ended(rows, *ids)
    pids = {result(project, "apid", job)[4] for job in ids}
    stop(worker)

    assert len(pids) == 2


def test_another_backend_has_another_database(project: Project) -> None:
    second = project.environment["SECOND_URL"]
    assert "Applied" in project.manage("migrate", "--database", "second").stdout
    (job,) = project.ask("print(tasks.add.using(backend='second').enqueue(1, b=2).id)")
    worker = project.worker("--backend", "second")
    with psycopg.connect(second, autocommit=True, row_factory=psycopg.rows.dict_row) as conn:
        ended(Rows(conn), job)
    stop(worker)

    (found,) = project.ask(f"print(tasks.add.using(backend='second').get_result('{job}'))")
    assert "_return_value=3" in found


def test_several_processes(project: Project, rows: Rows) -> None:
    ids = project.ask("for n in range(4):\n    print(tasks.add.enqueue(n).id)")
    worker = project.worker("--processes", "2")
    ended(rows, *ids)
    stop(worker)


def test_migrations(project: Project) -> None:
    pending = project.manage("awa_migrate", "--database", "second", "--check", status=1).stdout
    planned = project.manage("awa_migrate", "--database", "second", "--plan").stdout
    applied = project.manage("awa_migrate", "--database", "second").stdout
    done = project.manage("awa_migrate", "--check").stdout

    assert "second: pending V" in pending
    assert planned == pending
    assert "  applied V" in applied
    assert (
        done
        == "default: the schema of awa is up to date\nsecond: the schema of awa is up to date\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backend", "third"], "TASKS['third'] is no backend of awa"),
        (["--queue", "nobody's"], "no handler declares the queue"),
        (["--proceses", "2"], "awa worker has no option '--proceses'"),
    ],
)
def test_a_mistake_is_told(project: Project, arguments: list[str], said: str) -> None:
    worker = project.worker(*arguments)
    out, _ = worker.communicate(timeout=60)

    assert worker.returncode != 0
    assert said in out


def test_help(project: Project) -> None:
    said = project.manage("awa_worker", "--help").stdout

    assert "--backend ALIAS" in said
    assert "awa worker --help" in said
