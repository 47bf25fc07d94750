"""Measure commands on a private server: ``python -m benchmarks.commands startup|stream|tail``.

``startup``: the CPU time of commands and of a bare interpreter, and the time of a completion.
``stream``: the speed and memory of ``awa job list --all`` of a million rows, in each format.
``tail``: a worker drains paced jobs while ``awa job tail -f`` follows; the transitions that it
prints are compared with those that happened.  Prints one JSON document per run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass

import psycopg

import awa_lib as awa
from benchmarks.server import facts, fresh, private_server

# The memory of a process includes that of the process that forked it, so a small process forks it.
SMALL = """
import json, resource, subprocess, sys, time
began = time.monotonic()
read = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
written = 0
while block := read.stdout.read(1 << 18):
    written += len(block)
status, usage = read.wait(), resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"status": status, "bytes": written, "seconds": time.monotonic() - began,
                  "cpu": usage.ru_utime + usage.ru_stime, "rss": usage.ru_maxrss}))
"""
FILL = """
    INSERT INTO awa.jobs_hot (kind, queue, args, state, attempt, run_lease, attempted_at,
                              finalized_at)
    SELECT 'send_email', 'email', jsonb_build_object('to', 'user' || i || '@example.org', 'n', i),
           'completed', 1, 1, now(), now()
    FROM generate_series(1, %s::int) AS i"""


def awa_argv(url: str, *words: object) -> list[str]:
    return [sys.executable, "-m", "awa_cli", "--database-url", url, *map(str, words)]


STARTS = {
    "a bare interpreter": "",
    "import psycopg": "import psycopg",
    "awa --version": ["--version"],
    "awa --help": ["--help"],
    "awa job --help": ["job", "--help"],
    "awa job list": ["job", "list"],
    "awa queue stats": ["queue", "stats"],
}


def startup(url: str, reps: int = 20) -> dict:
    """Return the fewest milliseconds of each, measured in turns: CPU time, or wall time of a Tab.

    A Tab reads the database in a process of its own; the second Tab offers what the first has read.
    """
    cpu: dict[str, list[float]] = {name: [] for name in STARTS}
    tabs: dict[str, list[float]] = {name: [] for name in ("Tab after awa queue show", "again")}
    for _ in range(reps):
        for name, words in STARTS.items():
            line = ["-c", words] if isinstance(words, str) else ["-m", "awa_cli", *words]
            cpu[name].append(_run(line, url)["cpu"])
        with tempfile.TemporaryDirectory() as cache:
            for found in tabs.values():
                tab = {"_AWA_COMPLETE": "bash", "_AWA_LINE": "awa queue show ",
                       "XDG_CACHE_HOME": cache}  # fmt: skip
                found.append(_run(["-m", "awa_cli"], url, **tab)["seconds"])
    return {
        "measure": "startup",
        "cpu_ms": {name: round(1000 * min(found)) for name, found in cpu.items()},
        "answer_ms": {name: round(1000 * min(found)) for name, found in tabs.items()},
    }


def _run(line: list[str], url: str, **env: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", SMALL, sys.executable, *line],
        capture_output=True, text=True, check=True,
        env=os.environ | {"DATABASE_URL": url, "PYTHONDONTWRITEBYTECODE": ""} | env,
    )  # fmt: skip
    return json.loads(done.stdout)


def stream(url: str, form: str, rows: int) -> dict:
    line = awa_argv(url, "job", "list", "--all", "-o", form)
    done = subprocess.run(
        [sys.executable, "-c", SMALL, *line], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    return {
        "measure": "stream", "form": form, "rows": rows, "status": told["status"],
        "seconds": round(told["seconds"], 1), "cpu_seconds": round(told["cpu"], 1),
        "rows_per_second": round(rows / told["seconds"]), "mib": round(told["bytes"] / 2**20),
        "rss_mib": round(told["rss"] / 1024, 1),
    }  # fmt: skip


@dataclass
class Work:
    n: int


async def load(url: str, rate: int, seconds: float) -> float:
    """Insert batches of jobs at the rate and work them; return the ended jobs per second."""
    client = awa.AsyncClient(url)

    @client.task(Work, queue="q")
    async def work(job: awa.Job[Work]) -> None:
        if job.args.n % 100 == 0 and job.attempt == 1:
            raise ValueError("later")

    await client.start([("q", 200)])
    began = time.monotonic()
    batch = max(1, rate // 20)
    for number in range(round(seconds * 20)):
        await client.insert_many([Work(number * batch + n) for n in range(batch)], queue="q")
        await asyncio.sleep(max(0.0, began + (number + 1) / 20 - time.monotonic()))
    rate = batch * round(seconds * 20) / (time.monotonic() - began)
    with psycopg.connect(url, autocommit=True) as conn:
        left = "SELECT count(*) FROM awa.jobs WHERE state <> 'completed'"
        while conn.execute(left).fetchone()[0]:
            await asyncio.sleep(0.2)
    await client.shutdown(2000)
    return rate


def tail(url: str, rate: int, seconds: float) -> dict:
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            awa_argv(url, "job", "tail", "-f", "-n", 0, "-o", "ndjson"),
            stdout=out, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while "following" not in process.stderr.readline():
            pass
        reached = asyncio.run(load(url, rate, seconds))
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        out.seek(0)
        found = [json.loads(line) for line in out]
    told = Counter((one["id"], one["event"], one["attempt"]) for one in found)
    expected = set()
    with psycopg.connect(url) as conn:
        rows = conn.execute("SELECT id, state::text, attempt FROM awa.jobs").fetchall()
    for job_id, state, attempt in rows:
        expected |= {(job_id, "created", 0), (job_id, state, attempt)}
        expected |= {(job_id, "running", n) for n in range(1, attempt + 1)}
        expected |= {(job_id, "retryable", n) for n in range(1, attempt)}
    return {
        "measure": "tail", "jobs": len(rows), "jobs_per_second": round(reached),
        "transitions": len(expected), "lost": len(expected - set(told)),
        "twice": sum(count > 1 for count in told.values()),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commands", description=__doc__)
    parser.add_argument("measures", nargs="+", choices=["startup", "stream", "tail"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--forms", default="ndjson")
    parser.add_argument("--rate", type=int, default=1_000, help="jobs per second of the tail")
    parser.add_argument("--seconds", type=float, default=30)
    chosen = parser.parse_args()
    with private_server() as server:
        print(json.dumps({"machine": facts(server)}))
        for measure in chosen.measures:
            url = fresh(server, "bench")
            with awa.Client(url) as client:
                client.migrate()
            if measure == "startup":
                print(json.dumps(startup(url)), flush=True)
                continue
            if measure == "tail":
                print(json.dumps(tail(url, chosen.rate, chosen.seconds)), flush=True)
                continue
            with psycopg.connect(url, autocommit=True) as conn:
                conn.execute(FILL, [chosen.rows])
                conn.execute("VACUUM ANALYZE awa.jobs_hot")
            for form in chosen.forms.split(","):
                print(json.dumps(stream(url, form, chosen.rows)), flush=True)


if __name__ == "__main__":
    main()
