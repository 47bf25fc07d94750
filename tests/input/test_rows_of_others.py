"""Rows that other programs wrote: every way to look at them shows them, whatever they hold."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import psycopg
import pytest
from fix_cli import Ran
from fix_wait import aeventually
from fix_web import web_client
from fix_worker import working
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from input.wild import STORED

import awa_lib as awa
from awa_cli.errors import ExitCode

STATES = ("available", "running", "completed", "failed", "cancelled", "waiting_external",
          "scheduled", "retryable")  # fmt: skip
ENDED = {"completed", "failed", "cancelled"}
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
WORDS = (
    st.sampled_from(["2026-01-01T00:00:00Z", "+00:00", "x+00:00", "\x1b[31m", "-infinity"]) | TEXTS
)
ENTRY = STORED | st.fixed_dictionaries(
    {}, optional={"attempt": STORED, "error": STORED, "at": STORED | WORDS.map(json.dumps),
                  "terminal": STORED},
).map(lambda entry: "{" + ",".join(f'"{k}":{v}' for k, v in entry.items()) + "}")  # fmt: skip
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
# Times that Python's datetime does not hold: PostgreSQL's go from 4713 BC to 294276.
TIMES = st.sampled_from(
    ["now", "2026-01-01", "infinity", "-infinity", "0044-03-15 BC", "20000-01-01"]
)
JOB = st.fixed_dictionaries(
    {
        "kind": NAMES, "queue": NAMES, "state": st.sampled_from(STATES), "args": STORED,
        "metadata": STORED, "progress": st.none() | STORED, "errors": st.lists(ENTRY, max_size=3),
        "tags": st.lists(TEXTS, max_size=2), "attempt": st.sampled_from([0, 1, 2, 32767, -1]),
        "priority": st.integers(1, 4),
    },
    optional={"run_at": TIMES, "created_at": TIMES, "attempted_at": TIMES, "finalized_at": TIMES,
              "callback_filter": TEXTS},
)  # fmt: skip
QUEUES = STORED | st.lists(
    st.fixed_dictionaries({}, optional={"queue": STORED, "in_flight": STORED, "config": STORED | st.just(
        '{"max_workers": "x"}'), "overflow_held": STORED}).map(
        lambda one: "{" + ",".join(f'"{k}":{v}' for k, v in one.items()) + "}"), max_size=3,
).map(lambda items: f"[{','.join(items)}]")  # fmt: skip
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def short(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def put(conn: psycopg.Connection, job: dict[str, Any]) -> int:
    """Write a row as it stands, without the checks of the library."""
    row = dict(job)
    if row["state"] in ENDED:
        row.setdefault("finalized_at", "now")
    table = "scheduled_jobs" if row["state"] in {"scheduled", "retryable"} else "jobs_hot"
    places = [{"errors": "%s::jsonb[]", "tags": "%s::text[]"}.get(name, "%s") for name in row]
    text = f"INSERT INTO awa.{table} ({', '.join(row)}) VALUES ({', '.join(places)}) RETURNING id"
    return conn.execute(text, list(row.values())).fetchone()[0]


def put_worker(conn: psycopg.Connection, queues: str, name: str) -> str:
    one = str(uuid.uuid4())
    conn.execute(
        "INSERT INTO awa.runtime_instances (instance_id, hostname, pid, version, started_at,"
        " last_seen_at, snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive,"
        " heartbeat_alive, shutting_down, leader, queues)"
        " VALUES (%s, %s, 7, %s, now(), now(), 10000, true, true, true, true, false, false, %s)",
        [one, name, name, queues],
    )
    return one


def clear(conn: psycopg.Connection) -> None:
    conn.execute(
        "DELETE FROM awa.jobs_hot; DELETE FROM awa.scheduled_jobs; DELETE FROM awa.runtime_instances"
    )


def checked(ran: Ran, *line: object) -> None:
    assert ran.status in {ExitCode.OK, ExitCode.FAILED, ExitCode.WRONG}, (line, ran.err)
    assert "Traceback" not in ran.err
    assert "a bug in awa" not in ran.err, (line, ran.err)


FORMS = ("table", "wide", "json", "ndjson", "yaml", "csv", "ids")
PLAIN = {"kind": "k", "queue": "q", "state": "failed", "args": "{}", "metadata": "{}",
         "progress": None, "errors": [], "tags": [], "attempt": 1, "priority": 2}  # fmt: skip
DEEP = "[" * 1_500 + "]" * 1_500
ODD_JOBS = [PLAIN | odd for odd in (
    {"args": "[1]", "metadata": "[1]", "progress": "3"},
    {"args": '{"a":1e400}', "metadata": '{"a":-1e400}', "progress": '{"percent":1e400}'},
    {"args": '{"a":' + "1" * 5_000 + "}"}, {"args": '{"a":' + "1" * 400 + ".5}"},
    {"args": DEEP}, {"metadata": DEEP}, {"progress": DEEP}, {"errors": [DEEP]},
    {"args": DEEP[1_300:1_700]},  # what Python reads, and its writers do not
    {"errors": ["1", "null", '"x"', "[1]"]},
    {"errors": ['{"at":"x","error":1,"attempt":"y"}']},
    {"errors": ['{"at":5,"error":{"a":1},"attempt":1}', '{"attempt":1}', '{"at":"x+00:00"}']},
    {"errors": ['{"at":"x","error":1,"attempt":"y"}'], "state": "retryable"},
    {"run_at": "infinity"}, {"created_at": "20000-01-01"}, {"attempted_at": "0044-03-15 BC"},
    {"finalized_at": "-infinity"}, {"run_at": "infinity", "state": "scheduled"},
    {"metadata": '{"_awa_callbacks":5,"_awa_callback_result":[],"_awa_traceparent":7}'},
    {"progress": '{"percent":"x","message":5,"metadata":3}'}, {"progress": "null"},
    {"progress": '{"percent":[1],"message":null}', "state": "running"},
)]  # fmt: skip
ODD_WORKERS = [
    "5", '"x"', "{}", "[1]", "[null]", "[{}]", '[{"queue":5}]', DEEP,
    '[{"queue":"q","in_flight":"x","config":5}]', '[{"queue":"q","in_flight":1e400}]',
    '[{"queue":"q","config":{"max_workers":"x"},"overflow_held":"z","in_flight":null}]',
]  # fmt: skip


def see_job(cli, job_id: int, form: str) -> None:
    for line in (
        ["job", "list", "-o", form], ["job", "list", "-o", "json"], ["job", "show", job_id],
        ["job", "show", job_id, "-o", "json"], ["job", "dump", job_id], ["job", "logs", job_id],
    ):  # fmt: skip
        ran = cli(*line)
        checked(ran, *line)
        assert ran.status == 0, (line, ran.err)
        if "json" in line:
            json.loads(ran.out, parse_constant=pytest.fail)


JOB_PATHS = ("/api/jobs", "/api/jobs/{}", "/api/jobs/{}/dump", "/api/jobs/{}/run", "/jobs", "/jobs/{}",
             "/", "/metrics")  # fmt: skip
WORKER_PATHS = ("/api/queues", "/api/queues/runtime", "/api/runtime", "/api/runtime/{}", "/workers",
                "/queues", "/queues/q", "/")  # fmt: skip


async def see_all(client, paths: tuple[str, ...], row_id: object) -> None:
    for path in paths:
        answer = await client.get(path.format(row_id))
        # Of a queue that no good row names there is nothing.
        assert answer.status_code in ({200, 404} if path == "/queues/q" else {200}), (path, answer)
        if path.startswith("/api"):
            json.loads(answer.text, parse_constant=pytest.fail)


def test_commands_show_each_odd_row(cli, db) -> None:
    for number, job in enumerate(ODD_JOBS):
        clear(db)
        see_job(cli, put(db, job), FORMS[number % len(FORMS)])
    for queues in ODD_WORKERS:
        clear(db)
        put_worker(db, queues, "box")
        for line in (["workers"], ["workers", "-o", "json"], ["queue", "stats"], ["doctor"]):
            checked(cli(*line), *line)


async def test_the_api_and_the_pages_show_each_odd_row(database_url, db) -> None:
    async with web_client(database_url) as client:
        for job in ODD_JOBS:
            clear(db)
            await see_all(client, JOB_PATHS, put(db, job))
        for queues in ODD_WORKERS:
            clear(db)
            await see_all(client, WORKER_PATHS, put_worker(db, queues, "box"))


async def test_the_monitor_shows_each_odd_row(monitor, db) -> None:
    ids = [put(db, job) for job in ODD_JOBS]
    for number, queues in enumerate(ODD_WORKERS):
        put_worker(db, queues, f"box {number}")
    async with monitor(screen="jobs", size=(120, 60)) as driver:
        await driver.at("jobs")
        for screen in ("workers", "queues", "overview", "kinds"):
            driver.app.action_go(screen)
            await driver.at(screen)
        for job_id in ids:
            driver.app.enter("job", str(job_id))
            page = await driver.at("job")
            assert page.error is None


def test_a_client_reads_each_odd_row(database_url, db) -> None:
    with awa.Client(database_url) as client:
        for job in ODD_JOBS:
            clear(db)
            put(db, job)
            (one,) = client.list_jobs()
            assert isinstance(one.metadata, dict)
            assert isinstance(one.progress, dict | None)
            assert all(isinstance(entry["error"], str) for entry in one.errors)
            if job["args"] == DEEP:
                with pytest.raises(awa.SerializationError, match="too deep"):
                    _ = one.args
            else:
                assert one.args is not None


async def test_a_worker_fails_the_one_it_cannot_read_and_goes_on(aclient, db) -> None:
    for job in ODD_JOBS:
        row = {key: value for key, value in job.items() if not key.endswith("_at")}
        put(db, row | {"state": "available", "attempt": 0, "max_attempts": 1, "queue": "odd"})

    @aclient.task(dict, kind="k", queue="odd")
    async def handle(job: awa.Job) -> None:
        _ = job.args, job.metadata, job.errors, job.progress
        job.set_progress(50)
        await job.flush_progress()

    async with working(aclient, ("odd", 5)):
        good = await aclient.insert({"a": 1}, kind="k", queue="odd")

        async def ended() -> bool:
            left = db.execute("SELECT count(*) FROM awa.jobs WHERE finalized_at IS NULL").fetchone()
            return left == (0,)

        await aeventually(ended, timeout=30)
    assert (await aclient.get_job(good.id)).state == awa.JobState.Completed


@short(25)
@given(job=JOB, form=st.sampled_from(FORMS))
def test_commands_show_any_job(cli, db, job, form) -> None:
    clear(db)
    job_id = put(db, job)
    for line in (
        ["job", "list", "-o", form],
        ["job", "show", job_id],
        ["job", "show", job_id, "-o", "json"],
        ["job", "dump", job_id],
        ["job", "logs", job_id],
        ["queue", "stats"],
        ["kind", "list"],
    ):
        ran = cli(*line)
        checked(ran, *line)
        assert ran.status == 0, ran.err
        if "json" in line:
            assert ran.data


@short(25)
@given(job=JOB, queues=QUEUES, name=TEXTS)
async def test_the_api_and_the_pages_show_any_row(database_url, db, job, queues, name) -> None:
    clear(db)
    job_id = put(db, job)
    worker = put_worker(db, queues, name)
    async with web_client(database_url) as client:
        for path in (
            "/api/jobs", f"/api/jobs/{job_id}", f"/api/jobs/{job_id}/dump", f"/api/jobs/{job_id}/run",
            "/api/queues", "/api/queues/runtime", "/api/runtime", f"/api/runtime/{worker}",
            "/api/kinds", "/", "/jobs", f"/jobs/{job_id}", "/queues", "/workers", "/kinds", "/metrics",
        ):  # fmt: skip
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.text[:500])


@short(15)
@given(queues=QUEUES, name=TEXTS, form=st.sampled_from(FORMS))
def test_commands_show_any_worker(cli, db, queues, name, form) -> None:
    clear(db)
    put_worker(db, queues, name)
    for line in (
        ["workers", "-o", form],
        ["queue", "list"],
        ["queue", "stats", "-o", form],
        ["doctor"],
    ):
        checked(cli(*line), *line)
