"""The measures.  Each runs one peer on a fresh database and returns plain numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.peers import Peer
from benchmarks.watch import ServerProcesses

WINDOW = 30.0
DRIVERS = Path(__file__).resolve().parent / "drivers"
# A longer drain is stopped; its rate is that of the jobs done by then.
LONGEST_DRAIN = 60.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the measures."""

    drain_jobs: int = 20_000
    bulk_jobs: int = 50_000
    single_jobs: int = 2_000
    paced_jobs: int = 300
    pace_seconds: float = 0.02
    steady_seconds: float = 12.0
    batch: int = 1_000
    steady_batch: int = 500
    flow_seconds: float = 600.0
    flow_rate: int = 3_000
    concurrency: int | None = None


def _environment(peer: Peer, url: str) -> dict[str, str]:
    return {**os.environ, **peer.environment, "BENCH_URL": url, "PYTHONPATH": str(DRIVERS)}


def play(peer: Peer, url: str, *role: object) -> dict:
    """Run one role to its end; return its output."""
    done = subprocess.run(
        [peer.python, str(DRIVERS / peer.driver), *map(str, role)],
        env=_environment(peer, url),
        capture_output=True,
        text=True,
        timeout=900,
    )
    if done.returncode:
        raise RuntimeError(f"{peer.name} {role[0]} failed:\n{done.stderr[-2000:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


class Worker:
    """A worker process of a peer."""

    def __init__(self, peer: Peer, url: str, concurrency: int) -> None:
        self._errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [peer.python, str(DRIVERS / peer.driver), "work", str(concurrency)],
            env=_environment(peer, url), stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip
        line = ""
        while not line.startswith('{"ready"'):
            line = self.process.stdout.readline()
            if not line:
                raise RuntimeError(f"{peer.name}'s worker did not start:\n{self.errors()}")
        self.ready = json.loads(line)["ready"]

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def stop(self) -> dict:
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=30)
        if "BENCH_PROFILE" in os.environ:
            print(self.errors())
        return json.loads([line for line in out.splitlines() if line.startswith("{")][-1])


def _count(conn: psycopg.Connection, peer: Peer) -> int:
    return int(conn.execute(peer.done).fetchone()[0])


def drain(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Drain a queue of no-op jobs; the clock runs from the worker's start to the last commit."""
    jobs = peer.drain_jobs or sizes.drain_jobs
    play(peer, url, "bulk", jobs, sizes.batch)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")
        worker = Worker(peer, url, sizes.concurrency or peer.concurrency)
        done, now = 0, worker.ready
        while done < jobs and now - worker.ready < LONGEST_DRAIN:
            time.sleep(0.02)
            done, now = _count(conn, peer), time.time()
    told = worker.stop()
    seconds = now - worker.ready
    return {
        "jobs": done,
        "jobs_per_second": round(done / seconds),
        "worker_cpu_seconds_per_10k": round(told["cpu_seconds"] * 10_000 / max(1, done), 3),
        "worker_rss_mib": told["rss_mib"],
    }


def _fill_and_drain(peer: Peer, url: str, sizes: Sizes, *, statistics: bool) -> dict:
    """Fill a queue under an idle worker, from the first insert to the last commit."""
    jobs = peer.drain_jobs or sizes.drain_jobs
    with psycopg.connect(url, autocommit=True) as conn:
        if statistics:
            play(peer, url, "bulk", jobs, sizes.batch)
            conn.execute("VACUUM ANALYZE")
        else:
            # Statistics are taken now; autovacuum takes no others.
            conn.execute("ANALYZE")
        already = _count(conn, peer)
        conn.execute(
            "DO $$ DECLARE t regclass; BEGIN FOR t IN SELECT c.oid FROM pg_class AS c JOIN"
            " pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname"
            " NOT LIKE 'pg_%' AND n.nspname <> 'information_schema' LOOP EXECUTE format("
            "'ALTER TABLE %s SET (autovacuum_enabled = off)', t); END LOOP; END $$"
        )
        worker = Worker(peer, url, sizes.concurrency or peer.concurrency)
        wanted = jobs * 2 if statistics else jobs
        while statistics and already < jobs:
            time.sleep(0.02)
            already = _count(conn, peer)
        time.sleep(2)  # idle: its statements are prepared and planned
        begin = now = time.time()
        play(peer, url, "bulk", jobs, sizes.batch)
        done = already
        while done < wanted and now - begin < LONGEST_DRAIN:
            time.sleep(0.02)
            done, now = _count(conn, peer), time.time()
    told = worker.stop()
    return {
        "jobs": done - already,
        "jobs_per_second": round((done - already) / (now - begin)),
        "worker_cpu_seconds_per_10k": round(told["cpu_seconds"] * 10_000 / max(1, done), 3),
    }


def analysed(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Fill and drain with the statistics of a full queue."""
    return _fill_and_drain(peer, url, sizes, statistics=True)


def analysed_empty(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Fill and drain with the statistics of an empty queue."""
    return _fill_and_drain(peer, url, sizes, statistics=False)


def enqueue(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Insert one job per commit, then 1,000 per commit, from one producer."""
    single = play(peer, url, "single", sizes.single_jobs, 0)
    bulk = play(peer, url, "bulk", peer.bulk_jobs or sizes.bulk_jobs, sizes.batch)
    return {
        "single_jobs_per_second": round(single["jobs"] / single["seconds"]),
        "bulk_jobs_per_second": round(bulk["jobs"] / bulk["seconds"]),
    }


def latency(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Measure the time from an enqueue to the start of its handler, on an idle worker."""
    worker = Worker(peer, url, sizes.concurrency or peer.concurrency)
    time.sleep(2)
    play(peer, url, "paced", sizes.paced_jobs, sizes.pace_seconds)
    time.sleep(1)
    found = sorted(seconds * 1000 for seconds in worker.stop()["latencies"])
    return {
        "jobs": len(found),
        **{f"p{p}_ms": round(found[min(len(found) - 1, len(found) * p // 100)], 2)
           for p in (50, 95, 99)},
    }  # fmt: skip


def pinned(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Work a steady flow while somebody holds an old snapshot: pickup and CPU at its two ends."""
    with psycopg.connect(url) as old, psycopg.connect(url, autocommit=True) as conn:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM pg_class")
        server = ServerProcesses(conn)
        worker = Worker(peer, url, sizes.concurrency or peer.concurrency)
        time.sleep(2)
        with ThreadPoolExecutor(1) as pool:
            flow = pool.submit(play, peer, url, "flow", sizes.flow_seconds, sizes.flow_rate)
            shares = []
            for pause in (0.0, sizes.flow_seconds - 2 * WINDOW):
                time.sleep(pause)
                before, began = server.cpu(), time.time()
                time.sleep(WINDOW)
                shares.append((server.cpu() - before) / (time.time() - began))
            told = flow.result()
        time.sleep(2)
        done = _count(conn, peer)
        ends = worker.stop()["ends"]
    return {
        "jobs": done, "left": told["jobs"] - done,
        **{f"first_{name}": value for name, value in ends[0].items()},
        **{f"last_{name}": value for name, value in ends[1].items()},
        "first_server_cpu": round(shares[0], 3), "last_server_cpu": round(shares[1], 3),
    }  # fmt: skip


def steady(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Work while a producer inserts as fast as it can, on the same processors."""
    worker = Worker(peer, url, sizes.concurrency or peer.concurrency)
    time.sleep(1)
    begin = time.time()
    producer = play(peer, url, "steady", sizes.steady_seconds, sizes.steady_batch)
    with psycopg.connect(url, autocommit=True) as conn:
        done = _count(conn, peer)
    seconds = time.time() - begin
    worker.stop()
    return {
        "jobs_per_second": round(done / seconds),
        "enqueued_per_second": round(producer["jobs"] / producer["seconds"]),
        "backlog": producer["jobs"] - done,
    }


MEASURES = {
    "drain": drain, "analysed": analysed, "analysed-empty": analysed_empty, "enqueue": enqueue,
    "latency": latency, "steady": steady, "pinned": pinned,
}  # fmt: skip
# The number that ranks the peers, and whether more is better.
HEADLINES = {
    "drain": ("jobs_per_second", True),
    "analysed": ("jobs_per_second", True),
    "analysed-empty": ("jobs_per_second", True),
    "enqueue": ("bulk_jobs_per_second", True),
    "latency": ("p50_ms", False),
    "steady": ("jobs_per_second", True),
    "pinned": ("last_p50_ms", False),
}
