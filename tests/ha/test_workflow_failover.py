"""A standby becomes the primary between the end of a parent and the start of its child."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
from fix_own_server import FAST, OwnServer
from fix_wait import aeventually, eventually
from fix_worker import Rows, working
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

import awa_lib as awa
from awa_lib.embedded.account import server_account
from awa_lib.embedded.binaries import reachable_binaries


@contextmanager
def standby_of(primary: OwnServer, place: Path) -> Iterator[str]:
    """Run a standby; it becomes the primary when it is promoted."""
    account = server_account()
    programs = reachable_binaries(account)
    place.mkdir()
    shutil.chown(place, account.uid)
    subprocess.run(
        [programs.program("pg_basebackup"), "-d", primary.url, "-D", place / "data", "-R", "-c",
         "fast"],
        check=True, **account.switch,
    )  # fmt: skip
    settings = FAST | {"unix_socket_directories": str(place), "listen_addresses": ""}
    process = subprocess.Popen(
        [programs.program("postgres"), "-D", place / "data", "-p", str(primary.port),
         *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
        stderr=subprocess.DEVNULL, **account.switch,
    )  # fmt: skip
    try:
        yield make_conninfo(primary.url, host=str(place))
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait()


def asked(url: str, statement: str) -> object:
    with psycopg.connect(url, autocommit=True) as conn:
        row = conn.execute(statement.encode()).fetchone()
    return None if row is None else row[0]


async def test_a_child_starts_on_the_new_primary() -> None:
    place = Path(tempfile.mkdtemp(prefix="awa-failover-"))
    place.chmod(0o755)
    primary = OwnServer(place / "primary")
    try:
        with awa.Client(primary.url) as client:
            client.migrate()
        with standby_of(primary, place / "standby") as standby:
            there = [conninfo_to_dict(one) for one in (primary.url, standby)]
            url = make_conninfo(
                primary.url, host=",".join(str(one["host"]) for one in there),
                port=",".join(str(one["port"]) for one in there),
                target_session_attrs="read-write", connect_timeout=2,
            )  # fmt: skip
            eventually(lambda: asked(standby, "SELECT pg_is_in_recovery()"), 60)
            await fail_over(url, primary, standby)
    finally:
        with suppress(subprocess.CalledProcessError):  # it is down already
            primary.stop()
        shutil.rmtree(place)


async def fail_over(url: str, primary: OwnServer, standby: str) -> None:
    async with awa.AsyncClient(url) as client:

        @client.task(dict, kind="k")
        async def handler(job: awa.Job) -> None: ...

        async with client.workflow("moved") as flow:
            first = flow.add({}, kind="k", name="first")
            second = flow.add({}, kind="k", name="second", after=first)
        async with working(client):
            with closing(psycopg.connect(primary.url)) as other:
                # The parent ends, and its workflow cannot be moved on before the failover.
                other.execute("SELECT FROM awa.workflows FOR UPDATE")
                noted = "SELECT count(*) = 1 FROM awa.workflow_events"
                await aeventually(lambda: asked(standby, noted), timeout=30)
                primary.stop()
            asked(standby, "SELECT pg_promote()")
            state = "SELECT state FROM awa.workflows"
            await aeventually(lambda: asked(standby, state) == "succeeded", timeout=60)
    with psycopg.connect(standby, autocommit=True, row_factory=dict_row) as conn:
        rows = Rows(conn)
        assert rows.states() == {"completed": 2}
        assert [rows.job(job.job_id or 0)["attempt"] for job in (first, second)] == [1, 1]
