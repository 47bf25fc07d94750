"""Earlier commits of this project on the newest schema, and their databases migrated to it.

A commit stands for a release: the last of the main line that ended with a given script.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest
from fix_doctor import obey
from fix_upgrade import Ledger, deadlocks, schema_findings, start_when_it_may, states
from fix_wait import aeventually
from fix_worker import QUICK

import awa_lib as awa
from awa_lib.errors import SchemaNotMigrated
from awa_lib.schema.migrate import plan

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = "sql/migrations/toolkit"
# The scripts that were once the newest of the main line; T0008 and T0010 came with the next one.
NEWEST_ONCE = (4, 5, 6, 7, 9, 11, 12, 13, 14, 15, 16)
SHORT = (4, 9, 13, 15)
RELEASES = [
    pytest.param(number, marks=() if number in SHORT else pytest.mark.soak)
    for number in NEWEST_ONCE
]
CATALOG = """
    SELECT c.relname, c.relkind::text, c.reloptions::text, a.attnum, a.attname,
           format_type(a.atttypid, a.atttypmod)
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = 'awa'::regnamespace AND a.attnum > 0
    UNION ALL
    SELECT proname, 'function', md5(prosrc), NULL, pg_get_function_arguments(oid), NULL
    FROM pg_proc WHERE pronamespace = 'awa'::regnamespace
    UNION ALL
    SELECT tgname, 'trigger', pg_get_triggerdef(t.oid), NULL, NULL, NULL
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = tgrelid
    WHERE c.relnamespace = 'awa'::regnamespace AND NOT tgisinternal
"""
MIGRATE = """
import os, awa_lib as awa
with awa.Client(os.environ["DATABASE_URL"]) as client:
    client.migrate()
"""
# Works and inserts, in the words that all of them understand.
WORKER = """
import asyncio, os, sys
import awa_lib as awa

def note(path, number):
    with open(path, "a") as file:
        file.write(f"{number}\\n")

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="ends", queue="work")
    async def ends(job):
        if job.args["n"] % 7 == 0 and job.attempt == 1:
            return awa.RetryAfter(0.1)
        note(sys.argv[1], job.id)

    await client.start(
        [("work", 4)], poll_interval_ms=50, promote_interval_ms=50, leader_election_interval_ms=200
    )
    print(awa.__file__, flush=True)
    n = 0
    while not os.path.exists(sys.argv[3]):
        n += 1
        job = await client.insert({"n": n}, kind="ends", queue="work")
        note(sys.argv[2], job.id)
        await asyncio.sleep(0.01)
    print("no more", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True).stdout


@cache
def commits() -> dict[int, str]:
    """Return commits of the main line by the newest script in them."""
    if git("rev-parse", "--is-shallow-repository").strip() == b"true":
        pytest.skip("the history is not in this clone: git fetch --unshallow")
    found: dict[int, str] = {}
    for commit in git("log", "--first-parent", "--format=%H", "--", SCRIPTS).decode().split():
        names = git("ls-tree", "--name-only", commit, f"{SCRIPTS}/").decode()
        numbers = [int(number) for number in re.findall(r"/(\d{4})_", names)]
        if numbers:
            found.setdefault(max(numbers), commit)
    return found


@pytest.fixture
def release(number: int, tmp_path: Path) -> Path:
    """The programs of a commit, beside ours."""
    try:
        commit = commits().get(number)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there is no git history here: {error}")
    if commit is None:
        pytest.skip(f"no commit of this history ends with script {number}")
    place = tmp_path / "release"
    with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "awa_lib", "sql"))) as archive:
        archive.extractall(place, filter="data")
    return place


def command(
    release: Path, source: str, *args: object, url: str
) -> tuple[list[str], dict[str, str]]:
    environment = os.environ | {"PYTHONPATH": str(release), "DATABASE_URL": url}
    return [sys.executable, "-c", source, *map(str, args)], environment


@contextmanager
def working(release: Path, url: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    """Run the worker of a release."""
    words, environment = command(release, WORKER, *args, url=url)
    process = subprocess.Popen(
        words, env=environment, cwd=release, text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == f"{release / 'awa_lib' / '__init__.py'}\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def no_more(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "no more\n"


@pytest.mark.parametrize("number", RELEASES)
async def test_an_earlier_worker_goes_on_through_the_migration_and_starts_after_it(
    number: int, release: Path, empty_database_url: str, database_url: str, tmp_path: Path
) -> None:
    url = empty_database_url
    ledger, inserted = Ledger(tmp_path / "ran"), Ledger(tmp_path / "inserted")
    words, environment = command(release, MIGRATE, url=url)
    subprocess.run(words, env=environment, cwd=release, check=True, timeout=60)
    with psycopg.connect(url, autocommit=True) as conn:
        pending = plan(conn).pending
        async with awa.AsyncClient(url) as client:

            async def ends(job: awa.Job) -> None:
                ledger.write(job.id)

            client.task(dict, kind="ends", queue="work")(ends)
            options = QUICK | {"heartbeat_staleness_ms": 90_000}

            async def start() -> None:
                await client.start([("work", 4)], **options)

            if pending:
                with pytest.raises(SchemaNotMigrated, match=f"{pending[0].label}.* pending"):
                    await start()
            with working(release, url, ledger.path, inserted.path, tmp_path / "end") as old:
                await aeventually(lambda: len(ledger.counts()) > 10, timeout=30)
                await client.migrate()
                await start_when_it_may(start)
                so_far = len(inserted.counts())
                await aeventually(lambda: len(inserted.counts()) > so_far + 20, timeout=30)
                (tmp_path / "end").touch()
                await no_more(old)
                await all_end(conn, ledger, inserted)
            await client.shutdown(2000)

        # Alone, as a worker that is started again before it is replaced.
        (tmp_path / "again").touch()
        with working(release, url, ledger.path, inserted.path, tmp_path / "again") as old:
            await no_more(old)
            with awa.Client(url) as producer:
                for n in range(1, 9):
                    inserted.write(producer.insert({"n": n}, kind="ends", queue="work").id)
            await all_end(conn, ledger, inserted)

        assert deadlocks(conn) == 0
        same_schema(conn, database_url)


@pytest.mark.parametrize("number", RELEASES)
def test_an_earlier_worker_refuses_a_breaking_script_in_a_sentence(
    number: int, release: Path, database_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("INSERT INTO awa.toolkit_migrations VALUES (900, 'break_all', true)")
    words, environment = command(release, WORKER, tmp_path, tmp_path, tmp_path, url=database_url)
    done = subprocess.run(
        words, env=environment, cwd=release, text=True, capture_output=True, timeout=60
    )

    assert done.returncode == 1
    assert "SchemaUnsupported: migration T0900 (break_all) was found" in done.stderr


async def all_end(conn, ledger: Ledger, inserted: Ledger) -> None:
    ids = list(inserted.counts())
    await aeventually(lambda: states(conn, ids) == {"completed": len(ids)}, timeout=30)
    assert ledger.counts() == dict.fromkeys(ids, 1)


def same_schema(conn, fresh_url: str) -> None:
    """The schema is the newest; what differs, the doctor says, and its statements mend it.

    Some scripts were changed after the commit that stands for a release, as none was made yet.
    """
    obey(conn, schema_findings(conn))
    with psycopg.connect(fresh_url) as fresh:
        assert set(conn.execute(CATALOG)) == set(fresh.execute(CATALOG))
