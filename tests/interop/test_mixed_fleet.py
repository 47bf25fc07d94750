"""Workers and the command of awa 0.5.7 beside ours, on one database."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from fix_interop import Interop
from fix_wait import aeventually, eventually
from fix_worker import Noop, Rows, working
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import awa_lib as awa
from awa_lib._json import dumps
from awa_lib.enqueue.unique import unique_key

pytestmark = pytest.mark.interop

# Their default heartbeat, 30 s: at 200 ms a heartbeat of theirs now and then moves a row from under
# their own completion (seen in 5 of 54 runs on a busy machine); such a job runs again when rescued.
THEIR_WORKER = """
import asyncio, os, sys
import awa

async def main():
    client = awa.AsyncClient(os.environ["DATABASE_URL"])

    @client.task(dict, kind="noop", queue="shared")
    async def noop(job):
        if job.args.get("fail"):
            raise ValueError("no luck")

    await client.start(
        [("shared", 8)], poll_interval_ms=20,
        leader_election_interval_ms=200, promote_interval_ms=50,
    )
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
THEIR_INSERTS = """
import os, sys
import awa

client = awa.Client(os.environ["DATABASE_URL"])
jobs = client.insert_many_copy([{"n": i} for i in range(int(sys.argv[1]))], kind="noop",
                               queue="shared")
print(len(jobs))
"""


@pytest.fixture
def their_worker(interop: Interop, database_url: str):
    process = interop.start(THEIR_WORKER, url=database_url)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.strip() == "ready", line + process.stdout.read()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_their_command_reads_and_changes_our_jobs(
    interop: Interop, database_url: str, rows: Rows
) -> None:
    with awa.Client(database_url) as client:
        job = client.insert({"to": "ada"}, kind="send_email", queue="email", tags=["x"])
        doomed = client.insert({}, kind="send_email", queue="email")
        client.cancel(doomed.id)
        listed = interop.awa("job", "list", "--queue", "email", url=database_url).stdout
        dump = json.loads(interop.awa("job", "dump", str(job.id), url=database_url).stdout)
        retried = interop.awa("job", "retry", str(doomed.id), url=database_url).stdout
        cancelled = interop.awa("job", "cancel", str(job.id), url=database_url).stdout
        client.flush_admin_metadata()
    stats = interop.awa("queue", "stats", url=database_url).stdout
    storage = json.loads(interop.awa("storage", "status", url=database_url).stdout)

    assert "2 jobs listed." in listed
    assert (dump["job"]["args"], dump["job"]["tags"]) == ({"to": "ada"}, ["x"])
    assert retried.strip() == f"Retried job {doomed.id}"
    assert cancelled.strip() == f"Cancelled job {job.id}"
    assert rows.job(doomed.id)["state"] == "available"
    assert rows.job(job.id)["state"] == "cancelled"
    assert "email" in stats
    assert storage["active_engine"] == "canonical"


def test_our_dump_is_theirs(interop: Interop, database_url: str) -> None:
    """The same job gives the same document, but for what they leave out."""
    from awa_lib.reads.job_dumps import dump_job

    with awa.Client(database_url) as client:
        job = client.insert({"b": 1, "a": [1.5, None]}, kind="k", metadata={"m": "é"}, tags=["t"])
        client.cancel(job.id)
        ours = client._run(dump_job(job.id))
    theirs = json.loads(interop.awa("job", "dump", str(job.id), url=database_url).stdout)

    from awa_cli.documents.encoding import encode

    mine = json.loads(json.dumps(encode(ours)))
    mine["job"]["unique_states"] = theirs["job"]["unique_states"]
    assert (mine.pop("attempts"), mine.pop("worker")) == ([], None)
    assert (mine.pop("result"), mine.pop("workflow"), mine.pop("steps")) == (None, None, [])
    assert mine["summary"].pop("max_attempts") == 25
    assert mine == theirs


def test_their_worker_runs_our_jobs(their_worker, database_url: str, rows: Rows) -> None:
    with awa.Client(database_url) as client:
        client.insert_many([Noop(n) for n in range(50)], queue="shared")
        client.insert_many_copy([Noop(n) for n in range(50)], queue="shared")
        failing = client.insert({"fail": True}, kind="noop", queue="shared", max_attempts=1)
        eventually(lambda: rows.states() == {"completed": 100, "failed": 1}, timeout=30)
        error = client.get_job(failing.id).errors[0]["error"]

    assert error.startswith("ValueError: no luck")


async def test_our_worker_runs_their_jobs(
    interop: Interop, aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    @aclient.task(Noop, queue="shared")
    async def handler(job: awa.Job) -> None: ...

    interop.python(THEIR_INSERTS, "200", url=database_url)
    async with working(aclient, ("shared", 20)):
        await aeventually(lambda: rows.states() == {"completed": 200})


async def test_both_work_one_queue_and_each_job_runs_once(
    their_worker, interop: Interop, aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    mine: list[int] = []

    @aclient.task(dict, kind="noop", queue="shared")
    async def handler(job: awa.Job) -> None:
        mine.append(job.id)

    async with working(aclient, ("shared", 8)):
        interop.python(THEIR_INSERTS, "1500", url=database_url)
        await aclient.insert_many([Noop(n) for n in range(1500)], queue="shared")
        await aeventually(lambda: rows.states() == {"completed": 3000}, timeout=60)
    attempts = rows.all("SELECT DISTINCT attempt FROM awa.jobs")
    instances = rows.all("SELECT version, leader FROM awa.runtime_instances")

    assert attempts == [{"attempt": 1}]
    assert 0 < len(mine) < 3000
    assert len(mine) == len(set(mine))
    assert {i["version"] for i in instances} >= {"0.5.7"}
    assert len(instances) == 2


async def test_retries_of_both_are_promoted_by_whoever_leads(
    their_worker, aclient: awa.AsyncClient, rows: Rows
) -> None:
    """Their process leads, ours fails a job and gives it a delay."""
    seen: list[int] = []

    @aclient.task(Noop, queue="ours")
    async def handler(job: awa.Job) -> object:
        seen.append(job.attempt)
        return awa.RetryAfter(0.1) if job.attempt == 1 else None

    await aeventually(
        lambda: any(i["leader"] for i in rows.all("SELECT leader FROM awa.runtime_instances")),
        timeout=30,
    )
    async with working(aclient, ("ours", 2)):
        job = await aclient.insert(Noop(), queue="ours")
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert seen == [1, 2]


UNIQUE = """
import json, os, sys
import awa

client = awa.Client(os.environ["DATABASE_URL"])
for line in sys.stdin.read().split("\\n"):
    case = json.loads(line)
    client.insert(case["args"], kind=case["kind"], queue=case["queue"], unique_opts=case["opts"])
"""
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
CASES = st.lists(
    st.tuples(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans(), st.booleans(),
              st.none() | st.integers(-(2**63), 2**63 - 1)),
    min_size=60, max_size=60,
)  # fmt: skip


@settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(cases=CASES)
def test_unique_keys_are_theirs_byte_for_byte(
    interop: Interop, database_url: str, rows: Rows, cases: list
) -> None:
    lines, expected = [], []
    rows.conn.execute("TRUNCATE awa.jobs_hot, awa.job_unique_claims")
    for number, (args, by_queue, by_args, period) in enumerate(cases):
        # A kind of its own keeps equal cases from colliding.
        kind, queue = f"k{number}", f"q{number % 3}"
        opts = {"by_queue": by_queue, "by_args": by_args}
        if period is not None:
            opts["by_period"] = period
        lines.append(dumps({"args": args, "kind": kind, "queue": queue, "opts": opts}))
        expected.append(
            unique_key(
                kind,
                queue=queue if by_queue else None,
                args=args if by_args else ...,
                period=period,
            )
        )
    import subprocess

    done = subprocess.run(
        [str(interop.bin / "python"), "-c", UNIQUE],
        env=interop._environment(database_url),
        input="\n".join(lines),
        text=True,
        capture_output=True,
        timeout=60,
    )
    found = [
        bytes(r["unique_key"]) for r in rows.all("SELECT unique_key FROM awa.jobs ORDER BY id")
    ]

    assert done.stderr == ""
    assert found == expected


@dataclass
class Charge:
    order: int


def test_uniqueness_holds_between_their_producers_and_ours(
    interop: Interop, database_url: str
) -> None:
    opts = {"by_queue": True}
    lines = dumps({"args": {"order": 7}, "kind": "charge", "queue": "pay", "opts": opts})
    import subprocess

    subprocess.run(
        [str(interop.bin / "python"), "-c", UNIQUE], env=interop._environment(database_url),
        input=lines, text=True, check=True, timeout=60,
    )  # fmt: skip
    with awa.Client(database_url) as client:
        with pytest.raises(awa.UniqueConflict):
            client.insert(Charge(7), queue="pay", unique_opts=opts)
        client.insert(Charge(8), queue="pay", unique_opts=opts)
