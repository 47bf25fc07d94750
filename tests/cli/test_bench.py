"""``awa bench``: figures, and nothing left of how they came about."""

from __future__ import annotations

import signal
import subprocess

import pytest
from fix_cli import argv, environment
from fix_wait import eventually
from test_schemas import validator

SMALL = ["bench", "--jobs", "100", "--duration", "200ms"]
TRACES = """
    SELECT count(*) FROM (
        SELECT queue FROM awa.jobs UNION ALL SELECT queue FROM awa.queue_descriptors
        UNION ALL SELECT kind FROM awa.job_kind_descriptors
        UNION ALL SELECT kind FROM awa.job_kind_catalog
        UNION ALL SELECT queue FROM awa.job_queue_catalog
        UNION ALL SELECT queue FROM awa.queue_state_counts
        UNION ALL SELECT queues::text FROM awa.runtime_instances
        UNION ALL SELECT 'awa_bench' FROM awa.worker_processes
    ) AS named(queue) WHERE queue LIKE '%awa_bench%'"""

BEGUN = "SELECT EXISTS (SELECT FROM awa.jobs WHERE queue LIKE 'awa_bench_%')"


@pytest.fixture
def others(add, db):
    """Jobs that must stay as they are: the bench is no leader, which would promote the first."""
    add("scheduled", run_at="2026-01-01T00:00Z")
    add("available")
    add("running", heartbeat_at="2026-01-01T00:00Z", attempt=1, attempted_at="2026-01-01T00:00Z")
    query = "SELECT id, state, run_lease, errors FROM awa.jobs ORDER BY id"
    before = db.execute(query).fetchall()
    yield
    assert db.execute(query).fetchall() == before
    assert db.execute(TRACES).fetchone() == (0,)


def test_figures(process, database_url, others) -> None:
    ran = process(*SMALL, "--processes", 2, "-o", "json", url=database_url)

    assert ran.status == 0, ran.err
    found = ran.data
    validator("bench").validate(found)
    assert found["plan"]["jobs"] == 100
    assert found["plan"]["processes"] == 2
    assert found["server"]["fsync"] in {"on", "off"}
    assert found["server"]["synchronous_commit"]
    assert 1 <= found["enqueue_single"]["jobs"] <= 10
    assert found["enqueue_bulk"]["jobs"] == 100
    assert found["drain"]["jobs"] == 100 + found["enqueue_single"]["jobs"]
    assert found["drain"]["jobs_per_second"] > 0
    pickup = found["pickup"]
    assert pickup["samples"] == 10
    assert 0 < pickup["p50_ms"] <= pickup["p95_ms"] <= pickup["p99_ms"] <= pickup["max_ms"]
    assert ran.err.startswith("database: ")
    assert "draining 110 jobs" in ran.err


def test_figures_for_people(process, database_url) -> None:
    ran = process(*SMALL, "--quiet", url=database_url)
    assert (ran.status, ran.err) == (0, "")
    heads = [line.split("  ")[0] for line in ran.out.splitlines() if line]
    assert heads == ["server", "here", "round trip", "enqueue", "enqueue", "drain", "pickup"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["for each job", "each thousand", "draining", "measuring"])
def test_stopped_in_the_middle(database_url, db, others, moment, number) -> None:
    line = ["bench", "--jobs", "20000", "--duration", "30s"]
    if moment in {"draining", "measuring"}:
        line = ["bench", "--jobs", "500", "--duration", "30s"]
    running = subprocess.Popen(
        argv(*line), env=environment(database_url), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while moment not in running.stderr.readline():
        pass
    eventually(lambda: db.execute(BEGUN).fetchone()[0])
    running.send_signal(number)
    out, err = running.communicate(timeout=30)

    assert (running.returncode, out) == (130, "")
    assert "Traceback" not in err
    assert db.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    ).fetchone() == (0,)


def test_a_protected_context_is_not_loaded_by_accident(cli, offline, database_url, others) -> None:
    cli("context", "add", "live", database_url, "--protected")
    ran = offline(*SMALL, "--context", "live")
    assert (ran.status, ran.out) == (2, "")
    assert "protected" in ran.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--duration", "1ms"], "too short"), (["--duration", "x"], "not a duration"),
        (["--jobs", "0"], "not in the range"), (["--processes", "0"], "not in the range"),
    ],
)  # fmt: skip
def test_nonsense(offline, more, says) -> None:
    ran = offline("bench", *more)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
