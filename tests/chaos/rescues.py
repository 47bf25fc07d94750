"""``python -m tests.chaos.rescues``: measure how soon the jobs of a killed worker run again.

Kill -9 of a worker and of the leader, ten times each with the default settings and ten times each
with a staleness of 3 s.  Writes a section of docs/reliability.md.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from fix_own_server import OwnServer  # noqa: E402 - found in the folders above
from fix_wait import eventually  # noqa: E402
from report import machine, write  # noqa: E402

import awa_lib as awa  # noqa: E402

KILLS, JOBS = 10, 20
WORKER = """
import asyncio, json, os, sys, time
import awa_lib as awa

client = awa.AsyncClient(os.environ["DATABASE_URL"])
queues, options = json.loads(sys.argv[1])
ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

@client.task(dict, kind="hold")
async def hold(job):
    line = {"id": job.id, "pid": os.getpid(), "t": time.monotonic(), "again": bool(job.errors)}
    os.write(ledger, json.dumps(line).encode() + b"\\n")
    if not job.errors:
        await asyncio.sleep(3600)

async def say():
    while True:
        health = await client.health_check()
        with open(f"{os.environ['LEDGER']}.{os.getpid()}", "w") as file:
            file.write("leader" if health.leader else "healthy" if health.healthy else "")
        await asyncio.sleep(0.1)

tasks = []
awa.run(client, [(name, 400) for name in queues], partial=True, drain_timeout=0, **options,
        on_ready=lambda: tasks.append(asyncio.get_running_loop().create_task(say())))
"""


class Workers:
    """Processes on one server, and what their handlers wrote down."""

    def __init__(self, place: Path) -> None:
        self.server = OwnServer(place / "server")
        self.ledger = place / "ledger"
        self.ledger.touch()
        self.started: list[subprocess.Popen[bytes]] = []
        with awa.Client(self.server.url) as client:
            client.migrate()

    def spawn(self, queues: list[str], **options: object) -> subprocess.Popen[bytes]:
        environment = {"DATABASE_URL": self.server.url, "LEDGER": str(self.ledger)}
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, json.dumps([queues, options])],
            env=os.environ | environment,
        )
        self.started.append(process)
        return process

    def insert(self, queue: str) -> set[int]:
        with awa.Client(self.server.url) as client:
            jobs = client.insert_many(awa.NewJob({}, kind="hold", queue=queue) for _ in range(JOBS))
        return {job.id for job in jobs}

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.ledger.read_text().splitlines()]

    def says(self, process: subprocess.Popen[bytes]) -> str:
        path = Path(f"{self.ledger}.{process.pid}")
        return path.read_text() if path.exists() else ""

    def leader(self) -> subprocess.Popen[bytes]:
        living = [p for p in self.started if p.poll() is None]
        return eventually(lambda: [p for p in living if self.says(p) == "leader"], 60)[0]

    def begun(self, ids: set[int]) -> bool:
        return ids <= {line["id"] for line in self.lines()}

    def again(self, ids: set[int]) -> float | None:
        """Return when the last of these jobs ran again; None while some have not."""
        again = {line["id"]: line["t"] for line in self.lines() if line["again"]}
        return max(again[i] for i in ids) if ids <= again.keys() else None

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait(10)
        self.server.stop()


@contextmanager
def _workers() -> Iterator[Workers]:
    place = Path(tempfile.mkdtemp(prefix="awa-rescues-"))
    place.chmod(0o755)
    workers = None
    try:
        workers = Workers(place)
        yield workers
    finally:
        if workers is not None:
            workers.close()
        shutil.rmtree(place)


def of_workers(seconds_between: float, longest: float, **options: object) -> list[float]:
    """Kill workers that do not lead, one after another; return the seconds of each."""
    with _workers() as workers:
        queues = [f"of-{n}" for n in range(KILLS)]
        victims = {}
        for queue in queues:
            ids = workers.insert(queue)
            victims[queue] = workers.spawn([queue], leads=False, **options), ids
        for _, ids in victims.values():
            eventually(lambda ids=ids: workers.begun(ids), 120)
        workers.spawn(queues, **options)
        workers.leader()
        killed = {}
        for queue, (process, _) in victims.items():
            time.sleep(seconds_between * random.uniform(0.5, 1.5))
            process.send_signal(signal.SIGKILL)
            killed[queue] = time.monotonic()
        for _, ids in victims.values():
            eventually(lambda ids=ids: workers.again(ids), longest)
        return [workers.again(ids) - killed[queue] for queue, (_, ids) in victims.items()]


def of_leaders(**options: object) -> list[float]:
    """Kill the leader, again and again; return the seconds until all of its jobs ran again."""
    with _workers() as workers:
        found = []
        for number in range(KILLS + 1):
            queue = f"of-{number}"
            if number:
                ids = workers.insert(f"of-{number - 1}")
                eventually(lambda ids=ids: workers.begun(ids), 60)
                # Its successor works the queue as well.
                workers.spawn([f"of-{number - 1}", queue], **options)
                follower = workers.started[-1]
                eventually(lambda one=follower: workers.says(one), 60)
                time.sleep(5 * random.uniform(0.5, 1.5))
                leader = workers.leader()
                leader.send_signal(signal.SIGKILL)
                killed = time.monotonic()
                eventually(lambda ids=ids: workers.again(ids), 60)
                found.append(workers.again(ids) - killed)
            else:
                workers.spawn([queue], **options)
                workers.leader()
        return found


def main() -> None:
    short = {"heartbeat_staleness_ms": 3_000}
    rows = [
        ("the default, 10 s", "a worker", of_workers(4, 60)),
        ("the default, 10 s", "the leader", of_leaders()),
        ("3 s", "a worker", of_workers(2, 60, **short)),
        ("3 s", "the leader", of_leaders(**short)),
    ]
    lines = [
        "| staleness | killed | times | shortest | median | longest |",
        "|---|---|---|---|---|---|",
        *(
            f"| {staleness} | {who} | {len(found)} | {min(found):.1f} s | {median(found):.1f} s "
            f"| {max(found):.1f} s |"
            for staleness, who, found in rows
        ),
        "",
        f"From kill -9 until the last of its {JOBS} jobs began again in another process.",
        f"Measured on {machine()}, with `python -m tests.chaos.rescues`.",
        f"The load average of the machine was {os.getloadavg()[1]:.0f}.",
    ]
    print("\n".join(lines))
    write("rescues", lines)


if __name__ == "__main__":
    main()
