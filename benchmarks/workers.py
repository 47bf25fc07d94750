"""Up to a thousand workers on one server: ``python -m benchmarks workers --workers 10,100,1000``.

For each number of workers: empty queues, a trickle of jobs, and a backlog.  Most workers are bare
(see ``drivers/crowd.py``), two are real ``awa worker`` processes on a queue of their own; one of
these leads.  Prints a JSON document for each number, and a table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import psycopg

import awa_lib as awa
from benchmarks import watch
from benchmarks.server import facts, fresh, private_server
from benchmarks.soak import DRIVERS, Process
from tests.chaos.report import machine, write

QUEUE = "crowd"
PER_PROCESS = 250
ROUND_SECONDS = 12  # every duty of a worker has had its turn


class Crowd:
    """The bare workers."""

    def __init__(self, url: str, count: int, listening: int) -> None:
        sizes = [min(PER_PROCESS, count - at) for at in range(0, count, PER_PROCESS)]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "crowd.py", str(size), QUEUE, str(listening * size // count)],
                cwd=DRIVERS, start_new_session=True, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"DATABASE_URL": url},
            )
            for size in sizes
        ]  # fmt: skip

    def answers(self) -> list[dict]:
        found = []
        for process in self.processes:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("bare workers ended")
            found.append(json.loads(line))
        return found

    def say(self, word: str) -> None:
        for process in self.processes:
            process.stdin.write(word + "\n")
            process.stdin.flush()

    def tell(self) -> dict:
        """Return the figures of all since the last reset."""
        self.say("tell")
        told = self.answers()
        return {
            key: sum((one[key] for one in told), type(told[0][key])())
            for key in told[0]
        }  # fmt: skip

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


class Server:
    """What the server has done since the last look."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn, self.processes = conn, watch.ServerProcesses(conn)
        self.look()

    def look(self) -> dict[str, float]:
        transactions, locks = self.conn.execute(
            "SELECT xact_commit + xact_rollback, deadlocks FROM pg_stat_database"
            " WHERE datname = current_database()"
        ).fetchone()
        now = {"t": time.monotonic(), "cpu": self.processes.cpu(), "statements": transactions,
               "deadlocks": locks}  # fmt: skip
        before = getattr(self, "before", now)
        self.before = now
        seconds = max(now["t"] - before["t"], 1e-9)
        return {
            "seconds": seconds,
            "cpu_percent": round(100 * (now["cpu"] - before["cpu"]) / seconds, 1),
            "statements_per_second": round((now["statements"] - before["statements"]) / seconds, 1),
            "deadlocks": now["deadlocks"] - before["deadlocks"],
        }


def waits(conn: psycopg.Connection, seconds: float) -> dict[str, float]:
    """Return how many sessions waited for each thing, on average."""
    found: Counter[str] = Counter()
    looks = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        looks += 1
        for event, count in conn.execute(
            "SELECT coalesce(wait_event_type || ' ' || wait_event, 'runs'), count(*)"
            " FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
            " AND datname = current_database() GROUP BY 1"
        ):
            found[event] += count
        time.sleep(0.1)
    return {event: round(count / looks, 2) for event, count in found.most_common(6)}


def claims_of(told: dict) -> dict:
    seconds = told["seconds"] or [0.0]
    return {
        "claims": told["claims"], "empty": told["empty"],
        "claim_p50_ms": round(1000 * watch.percentile(seconds, 0.5), 2),
        "claim_p95_ms": round(1000 * watch.percentile(seconds, 0.95), 2),
        "notifications": told["notified"],
        "troubles": Counter(told["troubles"]).most_common(5),
    }  # fmt: skip


def idle(crowd: Crowd, server: Server, seconds: float) -> dict:
    crowd.say("reset")
    server.look()
    time.sleep(seconds)
    return server.look() | claims_of(crowd.tell())


async def trickle(url: str, rate: float, seconds: float) -> int:
    async with awa.AsyncClient(url, max_connections=1) as client:
        due = time.monotonic()
        count = int(rate * seconds)
        for _ in range(count):
            await client.insert({"t": time.monotonic()}, kind="bare", queue=QUEUE)
            due += 1 / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
    return count


def trickled(url: str, crowd: Crowd, server: Server, rate: float, seconds: float) -> dict:
    crowd.say("reset")
    server.look()
    jobs = asyncio.run(trickle(url, rate, seconds))
    time.sleep(1.5)
    looked, told = server.look(), crowd.tell()
    pickups = told["pickups"] or [0.0]
    return {
        **looked, **claims_of(told), "jobs": jobs, "started": len(told["started"]),
        "twice": len(told["started"]) - len(set(told["started"])),
        "rate": rate,
        "claims_per_job": round(told["claims"] / jobs, 2),
        **{f"pickup_p{p}_ms": round(1000 * watch.percentile(pickups, p / 100), 1)
           for p in (50, 95, 99)},
    }  # fmt: skip


def full(url: str, conn: psycopg.Connection, crowd: Crowd, server: Server, jobs: int) -> dict:
    with awa.Client(url) as client:
        client.pause_queue(QUEUE)
        for at in range(0, jobs, 5_000):
            now = time.monotonic()
            client.insert_many_copy([{"t": now}] * min(5_000, jobs - at), kind="bare", queue=QUEUE)
        conn.execute("VACUUM ANALYZE awa.jobs_hot")
        crowd.say("reset")
        server.look()
        client.resume_queue(QUEUE)
    left = "SELECT count(*) FROM awa.jobs_hot WHERE queue = %s AND state = 'available'"
    waited: Counter[str] = Counter()
    looks = 0
    while conn.execute(left, [QUEUE]).fetchone()[0]:
        waited.update(waits(conn, 0.4))
        looks += 1
    looked = server.look()
    time.sleep(1)
    told = crowd.tell()
    return {
        **looked, **claims_of(told), "jobs": jobs, "started": len(told["started"]),
        "twice": len(told["started"]) - len(set(told["started"])),
        "jobs_per_second": round(jobs / looked["seconds"]),
        "claims_per_second": round(told["claims"] / looked["seconds"]),
        "waits": {k: round(v / max(1, looks), 2) for k, v in waited.most_common(6)},
    }  # fmt: skip


def measure(server, count: int, listening: int, jobs: int, rate: float, seconds: float) -> dict:
    url = fresh(server, "crowd")
    with awa.Client(url) as client:
        client.migrate()
    with (
        tempfile.TemporaryDirectory(prefix="awa-crowd-") as folder,
        psycopg.connect(url, autocommit=True) as conn,
        ExitStack() as stack,
    ):
        for number in range(2):
            argv = (sys.executable, "-m", "awa_cli", "worker", "mixed:client")
            stack.callback(Process(Path(folder), f"worker-{number}", url, *argv).stop)
        crowd = Crowd(url, count, listening)
        stack.callback(crowd.stop)
        began = time.monotonic()
        crowd.answers()
        connected = time.monotonic() - began
        watched = Server(conn)
        time.sleep(ROUND_SECONDS)
        found = {"workers": count, "listening": listening,
                 "connected_seconds": round(connected, 1)}  # fmt: skip
        parts = {
            "starting": watched.look,
            "idle": lambda: idle(crowd, watched, seconds),
            "trickle": lambda: trickled(url, crowd, watched, rate, seconds),
            "full": lambda: full(url, conn, crowd, watched, jobs),
        }
        for name, part in parts.items():
            found[name] = part()
            print(json.dumps({"workers": count, "listening": listening, name: found[name]}),
                  flush=True)  # fmt: skip
        found["leaders"] = conn.execute(
            "SELECT count(*) FROM awa.runtime_instances WHERE leader AND last_seen_at > now() -"
            " interval '30 s'"
        ).fetchone()[0]
        found["instances"] = watch.tables(conn)["runtime_instances"]
        return found


ROWS = {
    "idle: statements a second": ("idle", "statements_per_second"),
    "idle: CPU of the server, % of a core": ("idle", "cpu_percent"),
    "trickle: jobs a second": ("trickle", "rate"),
    "trickle: statements a second": ("trickle", "statements_per_second"),
    "trickle: CPU of the server, % of a core": ("trickle", "cpu_percent"),
    "trickle: claims per job": ("trickle", "claims_per_job"),
    "trickle: pickup p50, ms": ("trickle", "pickup_p50_ms"),
    "trickle: pickup p95, ms": ("trickle", "pickup_p95_ms"),
    "trickle: pickup p99, ms": ("trickle", "pickup_p99_ms"),
    "backlog: jobs a second": ("full", "jobs_per_second"),
    "backlog: claims a second": ("full", "claims_per_second"),
    "backlog: claims without a job": ("full", "empty"),
    "backlog: claim p95, ms": ("full", "claim_p95_ms"),
    "backlog: jobs that started twice": ("full", "twice"),
}


def table(found: list[dict]) -> str:
    lines = [
        "| | "
        + " | ".join(f"{one['workers']:,} workers, {one['listening']:,} listen" for one in found)
        + " |",
        "|---|" + "---|" * len(found),
    ]
    for name, (part, key) in ROWS.items():
        lines.append(f"| {name} | " + " | ".join(f"{one[part][key]:,}" for one in found) + " |")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks workers", description=__doc__)
    parser.add_argument(
        "--workers",
        default="10,100,1000,1000:50",
        help="comma-separated numbers; 1000:50 means that 50 of 1,000 listen",
    )
    parser.add_argument("--jobs", type=int, default=40_000, help="jobs of the backlog")
    parser.add_argument("--rate", type=float, default=50, help="jobs a second of the trickle")
    parser.add_argument("--seconds", type=float, default=20, help="length of a part")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    chosen = parser.parse_args(words)
    given = [one.partition(":") for one in chosen.workers.split(",")]
    counts = [(int(count), int(listening or count)) for count, _, listening in given]
    found = []
    with private_server(max_connections=str(max(counts)[0] + 200)) as server:
        print(json.dumps({"machine": facts(server), "command": " ".join(words)}), flush=True)
        for count, listening in counts:
            found.append(
                measure(server, count, listening, chosen.jobs, chosen.rate, chosen.seconds)
            )
    print(table(found))
    if chosen.write:
        write("workers", [f"{machine()}.", "", table(found)])
    return 0 if all(one[part]["twice"] == 0 for one in found for part in ("trickle", "full")) else 1
