"""A command that reports a failure has changed nothing, whatever role it runs as."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator

import psycopg
import pytest
from fix_cli import LEAVES, Ran, forms
from fix_secure_server import LOGINS, SecureServer
from fix_worker import Noop

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops.failures import EndCount, Sighting, count_ends
from awa_lib.telemetry.failures import Group

DOWN = Group.build("shop.MailDown", "mail server is down", ("shop/mail.py send",))
# A line for each way of changing something; JOB, FAILED, DEAD, BATCH and CALLBACK are filled in.
CHANGES = (
    "job enqueue told --args {}",
    "job enqueue told --unique args,period=1s --in 1h",
    "job retry FAILED",
    "job cancel JOB",
    "job priority 1 JOB",
    "job move other JOB",
    "job retry-failed --kind told",
    "job discard --kind told",
    "queue pause told",
    "queue resume told",
    "queue cancel-waiting told --yes",
    "queue purge told",
    "queue set told --max-running 3",
    "queue unset told max-running",
    "cron trigger told",
    "cron pause told",
    "cron resume told",
    "cron apply --file FILE",
    "cron remove told",
    "failure mute FAILURE",
    "failure unmute FAILURE",
    "failure retry FAILURE",
    "dlq enable told",
    "dlq retry DEAD",
    "dlq move --kind told",
    "dlq purge --queue told",
    "dlq disable told",
    "batch submit retry --kind told",
    "batch run BATCH",
    "batch cancel BATCH",
    "workflow signal WORKFLOW go",
    "workflow cancel WORKFLOW",
    "workflow retry CANCELLED",
    "callback complete CALLBACK",
    "callback fail CALLBACK --error no",
    "callback retry CALLBACK",
    "callback resume CALLBACK",
    "callback heartbeat CALLBACK",
    "storage prepare --engine e",
    "storage abort",
    "migrate",
    "roles --apply",
)
# They change nothing in a database, or only what a worker or server of their own does.
OTHERS = {
    "access", "audit", "bench", "callbacks", "context", "demo", "dev", "doctor", "health", "kind",
    "serve", "tui", "version", "worker", "workers",
}  # fmt: skip
# Made in pages: its audit entry announces it, and stays when the first page fails.
ANNOUNCED = "job retry-failed"
READS = {"list", "show", "dump", "dump-run", "wait", "watch", "tail", "logs", "stats", "next",
         "export", "depth", "result", "sign", "verify", "status", "tasks"}  # fmt: skip


def test_every_changing_verb_is_tried() -> None:
    tried = {line for line in LEAVES if any(f"{one} ".startswith(f"{line} ") for one in CHANGES)}
    rest = {
        line for line in LEAVES if line.split()[0] not in OTHERS and line.split()[-1] not in READS
    }
    assert tried == rest


def _digest(conn: psycopg.Connection, tables: list[str]) -> dict[str, tuple[int, str]]:
    rows = conn.execute(
        " UNION ALL ".join(
            f"SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text))"
            f" FROM awa.{table} AS t"
            for table in tables
        )
    )
    return {table: (count, digest) for table, count, digest in rows}


@pytest.fixture
def tables(admin: psycopg.Connection) -> list[str]:
    found = admin.execute(
        "SELECT relname::text FROM pg_class"
        " WHERE relnamespace = 'awa'::regnamespace AND relkind = 'r'"
    )
    return [table for (table,) in found]


@pytest.fixture
def admin(secure: SecureServer) -> Iterator[psycopg.Connection]:
    with secure.admin() as conn:
        yield conn


@pytest.fixture
def words(secure: SecureServer, admin: psycopg.Connection, tmp_path) -> dict[str, str]:
    """What the lines name: rows that each change finds something to do with."""
    with awa.Client(secure.url("runtime")) as client:
        waiting, failed, dead = (
            client.insert(Noop(n), kind="told", queue="told", max_attempts=1).id for n in range(3)
        )
        client.pause_queue("told")
        client.resume_queue("told")
        batch = client.submit_bulk_operation("retry", kind="told")
        called = client.insert(Noop(9), kind="told", queue="told").id
        flows = []
        for _ in range(2):
            with client.workflow("told") as flow:
                flow.add(Noop(10), kind="told", queue="elsewhere", name="first")
                flow.add(Noop(11), kind="told", name="second", after="first", signal="go")
            assert flow.id is not None
            flows.append(flow.id)
        client.cancel_workflow(flows[1])
    admin.execute(
        "UPDATE awa.jobs_hot SET state = 'failed', attempt = 1, finalized_at = now() WHERE id = %s",
        [failed],
    )
    names = ", ".join(
        name
        for (name,) in admin.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'awa.dead_letters'::regclass"
            " AND attnum > 0 AND attname IN (SELECT attname FROM pg_attribute"
            " WHERE attrelid = 'awa.jobs_hot'::regclass)"
        )
    )
    admin.execute(
        f"WITH one AS (DELETE FROM awa.jobs_hot WHERE id = %s RETURNING *)"
        f" INSERT INTO awa.dead_letters ({names}, reason) SELECT {names}, 'failed' FROM one",
        [dead],
    )
    ends = [EndCount(0, "told", "told", "failed", DOWN.id, 1)]
    run(admin, count_ends(ends, [Sighting(DOWN, "told", failed)], version=None))
    admin.execute(
        "UPDATE awa.jobs_hot SET errors = ARRAY[%s::jsonb] WHERE id = %s",
        [json.dumps({"error": "x", "attempt": 1, "failure": DOWN.id}), failed],
    )
    (callback,) = admin.execute(
        "UPDATE awa.jobs_hot SET state = 'waiting_external', attempt = 1, attempted_at = now(),"
        " callback_id = gen_random_uuid(), callback_timeout_at = now() + interval '1 h'"
        " WHERE id = %s RETURNING callback_id",
        [called],
    ).fetchone()
    schedules = tmp_path / "schedules.yaml"
    schedules.write_text(
        "schedules:\n  - name: told\n    cron_expr: '0 0 1 1 *'\n    kind: told\n    queue: told\n"
    )
    admin.execute(
        "INSERT INTO awa.cron_jobs (name, cron_expr, kind, queue)"
        " VALUES ('told', '0 0 1 2 *', 'told', 'told') ON CONFLICT DO NOTHING"
    )
    return {
        "JOB": str(waiting), "FAILED": str(failed), "DEAD": str(dead), "BATCH": str(batch.id),
        "WORKFLOW": str(flows[0]), "CANCELLED": str(flows[1]), "FAILURE": DOWN.id, "CALLBACK": str(callback), "FILE": str(schedules),
    }  # fmt: skip


def _outputs(line: str) -> tuple[str, ...]:
    name = next(name for name in LEAVES if f"{line} ".startswith(f"{name} "))
    return (
        "",
        *(f"-o {form}" for form in forms(name)[:1]),
        *(("-o ids",) if "ids" in forms(name) else ()),
    )


@pytest.mark.parametrize("purpose", LOGINS)
@pytest.mark.parametrize("line", CHANGES)
def test_a_failure_is_told_only_of_what_was_not_done(
    secure: SecureServer,
    admin: psycopg.Connection,
    tables: list[str],
    offline: Callable[..., Ran],
    words: dict[str, str],
    line: str,
    purpose: str,
) -> None:
    filled = [words.get(word, word) for word in shlex.split(line)]
    for output in _outputs(line):
        before = _digest(admin, tables)

        ran = offline("--database-url", secure.url(purpose), *filled, *output.split(), "--yes")

        assert "Traceback" not in ran.err
        assert ran.status != 2, ran.err
        if ran.status != 0:
            after = _digest(admin, tables)
            changed = {name for name in before if before[name] != after[name]}
            assert changed <= ({"audit_log"} if line.startswith(ANNOUNCED) else set()), ran.err
