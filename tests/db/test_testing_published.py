"""The test client of awa 0.5, and the plugin in pytest runs of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

import awa_lib as awa
from awa_lib import testing

ROOT = Path(__file__).resolve().parents[2]
# What else is installed here takes two thirds of the time that pytest takes to begin.
WITHOUT = [
    f"-pno:{name}" for name in ("schemathesis", "textual-snapshot", "syrupy", "hypothesispytest")
]


@dataclass
class Mail:
    to: str


async def test_the_published_surface(awa_client: testing.AwaTestClient) -> None:
    async def handler(job: testing.HandlerJob) -> None:
        assert (job.args, job.attempt, job.max_attempts) == (Mail("a"), 1, 25)
        assert (job.queue, job.priority, job.is_cancelled()) == ("q", 2, False)
        assert job.deadline
        assert (job.metadata, job.tags) == ({"m": 1}, ["t"])

    await awa_client.migrate()
    await awa_client.insert(Mail("a"), queue="q", tags=["t"], metadata={"m": 1})
    assert (await awa_client.work_one(Mail, handler)).is_no_job()
    result = await awa_client.work_one(Mail, handler, queue="q")

    assert isinstance(awa_client.client, awa.AsyncClient)
    assert isinstance(result, testing.WorkResult)
    assert isinstance(result.job, testing.JobRow)
    assert result.is_completed(), result.error


async def test_clean_leaves_nothing(awa_client, look_at) -> None:
    await awa_client.insert(Mail("a"))
    await awa_client.insert(Mail("a"), run_at="2099-01-01T00:00:00Z")
    await awa_client.client.pause_queue("q")
    await awa_client.clean()

    assert look_at(
        "SELECT (SELECT count(*) FROM awa.jobs), (SELECT count(*) FROM awa.queue_meta)"
    ) == [(0, 0)]


async def test_a_bad_handler_or_kind_claims_nothing(awa_client) -> None:
    job = await awa_client.insert(Mail("a"))
    with pytest.raises(TypeError, match="a handler must be callable, got 7"):
        await awa_client.work_one(Mail, 7)
    with pytest.raises(awa.ValidationError, match="queue must be text: 7"):
        await awa_client.work_one(Mail, print, queue=7)

    assert (await awa_client.client.get_job(job.id)).attempt == 0


def test_the_database_url(monkeypatch) -> None:
    assert testing.get_database_url() == "postgres://postgres:test@localhost:5432/awa_test"
    monkeypatch.setenv("DATABASE_URL", "postgresql:///x")
    assert testing.get_database_url() == "postgresql:///x"


def test_the_sync_client_is_on_the_same_fresh_database(awa_sync_client, awa_database_url) -> None:
    assert awa_sync_client.list_jobs() == []
    awa_sync_client.insert(Mail("a"))
    with psycopg.connect(awa_database_url) as conn:
        assert conn.execute("SELECT count(*) FROM awa.jobs").fetchone() == (1,)


@pytest.fixture
def look_at(awa_database_url):
    def look(query):
        with psycopg.connect(awa_database_url) as conn:
            return conn.execute(query).fetchall()

    return look


def run_pytest(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder without a configuration of ours."""
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *WITHOUT,
        "--rootdir",
        str(folder),
    ]
    return subprocess.run(
        [*line, "-c", os.devnull, *args, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", **env},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_the_example_passes_on_one_process_and_on_two() -> None:
    for args in [(), ("-n", "2")]:
        done = run_pytest(ROOT / "examples" / "shop", *args)
        assert done.returncode == 0, done.stdout
        assert "passed" in done.stdout


def test_a_database_stays_as_long_as_it_is_used(awa_postgres, awa_template) -> None:
    with awa_postgres.database(awa_template) as of_a_module:
        for _ in range(5):
            with awa_postgres.database(awa_template):
                pass
        with psycopg.connect(of_a_module) as conn:
            assert conn.execute("SELECT count(*) FROM awa.jobs").fetchone() == (0,)


def test_a_server_of_ones_own_is_left_as_it_was(awa_postgres) -> None:
    def databases() -> set[str]:
        return {row[0] for row in awa_postgres.admin.execute("SELECT datname FROM pg_database")}

    # Other processes of this run come and go; the run inside names its databases differently.
    mine = f"awa_test_{awa_postgres.run_id}_"
    before = {name for name in databases() if not name.startswith(mine)}
    url = awa_postgres.url_of("postgres")
    done = run_pytest(ROOT / "examples" / "shop", AWA_TEST_DATABASE_URL=url)

    assert done.returncode == 0, done.stdout
    assert {name for name in databases() if not name.startswith(mine)} == before


def test_a_bad_server_url_says_what_is_wrong() -> None:
    done = run_pytest(ROOT / "examples" / "shop", AWA_TEST_DATABASE_URL="dbname=x host=/nowhere")

    assert done.returncode == 1
    assert "AWA_TEST_DATABASE_URL cannot be read" in done.stdout


def test_an_unused_plugin_loads_nothing_heavy(tmp_path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(request):\n"
        "    assert request.config.pluginmanager.has_plugin('awa')\n"
        "    assert not {'psycopg', 'awa_lib.client.clients', 'awa_lib.embedded'} & set(sys.modules)\n"
    )
    done = run_pytest(tmp_path)

    assert done.returncode == 0, done.stdout
