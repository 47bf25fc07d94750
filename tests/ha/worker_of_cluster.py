"""The program of the workers in these tests: its handlers write down what they do."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import awa_lib as awa
from awa_cli.worker.logs import set_up

APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
LEDGER = os.open(Path(os.environ["LEDGER"]) / f"{os.environ['NAME']}.ledger", APPEND)
QUEUES = [("one", 10), ("narrow", 10), (os.environ["NAME"], 10)]

client = awa.AsyncClient(os.environ["DATABASE_URL"])
# Of fires that no leader saw in time, one makes up for all, the other for none.
client.periodic("every", "* * * * * *", dict, {}, kind="tick", queue="one",
                missed_fire_policy="catch_up", catch_up_limit=1_000)  # fmt: skip
client.periodic("newest", "* * * * * *", dict, {}, kind="tick", queue="one")


def write(job: awa.Job, what: str, **more: str) -> None:
    line = {"what": what, "id": job.id, "lease": job.run_lease, "t": time.monotonic(), **more}
    os.write(LEDGER, json.dumps(line).encode() + b"\n")


async def work(job: awa.Job) -> None:
    write(job, "start")
    await asyncio.sleep(job.args.get("sleep", 0))
    if job.kind == "asking":
        token = await job.register_callback(3600)
        assert await job.wait_for_callback(token) == {"job": job.id}
    write(job, "end", promise="completed")


for kind in ("quick", "asking", "tick"):
    client.task(dict, kind=kind, queue="one")(work)
client.task(dict, kind="limited", queue="narrow")(work)
client.task(dict, kind="own", queue=os.environ["NAME"])(work)

if __name__ == "__main__":
    set_up(verbose=0)
    election = float(os.environ.get("AWA_TEST_ELECTION_MS", "10000"))
    awa.run(client, QUEUES, drain_timeout=5, leader_election_interval_ms=election)
