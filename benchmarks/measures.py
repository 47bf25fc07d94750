"""The measures.  Each runs one peer on a fresh database and returns plain numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import psycopg

from benchmarks.peers import Peer
from benchmarks.watch import Meter, ServerProcesses, cpu_of

WINDOW = 30.0
DRIVERS = Path(__file__).resolve().parent / "drivers"
# A longer drain is stopped; its rate is that of the jobs done by then.
LONGEST_DRAIN = 60.0
LONGEST_START = 60.0
IDLE_BEFORE = 15.0
# The pool of 50 concurrent callers.
CALLERS_CONNECTIONS = 10


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of the measures."""

    drain_jobs: int = 20_000
    bulk_jobs: int = 50_000
    single_jobs: int = 2_000
    callers_jobs: int = 10_000
    handler_jobs: int = 20_000
    paced_jobs: int = 300
    pace_seconds: float = 0.02
    steady_seconds: float = 12.0
    batch: int = 1_000
    steady_batch: int = 500
    flow_seconds: float = 600.0
    flow_rate: int = 3_000
    window: float = WINDOW
    idle_seconds: float = 30.0
    rows: int = 1_000_000
    due_at_once: int = 200_000
    concurrency: int | None = None

    def with_jobs(self, count: int) -> Sizes:
        """Return the same with another number of jobs of a drain."""
        return replace(self, drain_jobs=count)

    @staticmethod
    def of(most: int | None, count: int) -> int:
        """Return a number of jobs, at most that which a slow queue can do in the time."""
        return count if most is None else min(most, count)


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
    """A worker process of a peer; one that is held begins when it is told to."""

    def __init__(self, peer: Peer, url: str, concurrency: int, *, held: bool = False) -> None:
        self._peer = peer
        self._errors = tempfile.TemporaryFile("w+")
        self._tally = tempfile.NamedTemporaryFile()
        self._tally.truncate(8)
        environment = {"BENCH_TALLY": self._tally.name} | ({"BENCH_HOLD": "1"} if held else {})
        self.process = subprocess.Popen(
            [peer.python, str(DRIVERS / peer.driver), "work", str(concurrency)],
            env=_environment(peer, url) | environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        if held:
            self._answer("loaded")
        else:
            self.ready = self._answer("ready")

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def handled(self) -> int:
        """How many handlers have returned; some of their ends may not be committed."""
        return int.from_bytes(os.pread(self._tally.fileno(), 8, 0), sys.byteorder)

    def let_go(self) -> None:
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def wait_until_ready(self) -> None:
        self.ready = self._answer("ready")

    def _answer(self, word: str) -> float:
        # Closes the pipe of a worker that says nothing.
        guard = threading.Timer(LONGEST_START, self.process.kill)
        guard.start()
        try:
            for line in self.process.stdout:
                if line.startswith(f'{{"{word}"'):
                    return json.loads(line)[word]
        finally:
            guard.cancel()
        raise RuntimeError(f"{self._peer.name}'s worker did not start:\n{self.errors()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, if an error has come before its stop."""
        self.process.kill()
        self.process.wait()

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def stop(self) -> dict:
        self.process.send_signal(signal.SIGTERM)
        try:
            out, _ = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError(f"{self._peer.name}'s worker did not stop") from None
        if "BENCH_PROFILE" in os.environ:
            print(self.errors())
        told = [line for line in out.splitlines() if line.startswith("{")]
        if not told:
            raise RuntimeError(f"{self._peer.name}'s worker ended:\n{self.errors()[-2000:]}")
        return json.loads(told[-1])


def _count(conn: psycopg.Connection, peer: Peer) -> int:
    return int(conn.execute(peer.done).fetchone()[0])


def drain(
    peer: Peer, url: str, sizes: Sizes, *, workers: int = 1, through: str | None = None
) -> dict:
    """Drain a queue of jobs; the clock runs from the workers' start to the last commit.

    The workers may connect through another address.
    """
    jobs = sizes.of(peer.drain_jobs, sizes.drain_jobs)
    queues = int(peer.environment.get("BENCH_QUEUES", "1"))
    play(peer, url, "bulk", jobs, max(1, min(sizes.batch, jobs // queues)))
    with ExitStack() as stack:
        conn = stack.enter_context(psycopg.connect(url, autocommit=True))
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")
        concurrency = sizes.concurrency or peer.concurrency
        running = [
            stack.enter_context(Worker(peer, through or url, concurrency, held=True))
            for _ in range(workers)
        ]
        meter = Meter(conn)
        for worker in running:
            worker.let_go()
        for worker in running:
            worker.wait_until_ready()
        began = min(worker.ready for worker in running)
        done, now = 0, began
        while done < jobs and now - began < LONGEST_DRAIN and all(one.lives for one in running):
            # A count costs the server more than some queues do: not before the last handler.
            if sum(one.handled for one in running) < jobs and now < began + LONGEST_DRAIN - 1:
                time.sleep(0.001)
                now = time.time()
            else:
                done, now = meter.count(peer.done), time.time()
        told = [worker.stop() for worker in running]
        used = meter.used(done)
    if not done:
        raise RuntimeError(f"no job was done in {LONGEST_DRAIN:.0f} s")
    seconds = now - began
    cpu = sum(one["cpu_seconds"] for one in told)
    return {
        "jobs": done,
        "jobs_per_second": round(done / seconds),
        "worker_cpu_seconds_per_10k": round(cpu * 10_000 / max(1, done), 3),
        "worker_cpu_us": round(1e6 * cpu / max(1, done), 1),
        "worker_rss_mib": max(one["rss_mib"] for one in told),
        **used,
    }


def _fill_and_drain(peer: Peer, url: str, sizes: Sizes, *, statistics: bool) -> dict:
    """Fill a queue under an idle worker, from the first insert to the last commit."""
    jobs = sizes.of(peer.drain_jobs, sizes.drain_jobs)
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
        wanted = jobs * 2 if statistics else jobs
        with Worker(peer, url, sizes.concurrency or peer.concurrency) as worker:
            until = time.time() + LONGEST_DRAIN
            while statistics and already < jobs and time.time() < until:
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
    bulk = play(peer, url, "bulk", sizes.of(peer.bulk_jobs, sizes.bulk_jobs), sizes.batch)
    return {
        "single_jobs_per_second": round(single["jobs"] / single["seconds"]),
        "bulk_jobs_per_second": round(bulk["jobs"] / bulk["seconds"]),
    }


def _produce(peer: Peer, url: str, *role: object) -> dict:
    """Let one producer insert, without a worker."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
        meter = Meter(conn)
        told = play(peer, url, *role)
        used = meter.used(told["jobs"])
    return {
        "jobs": told["jobs"],
        "jobs_per_second": round(told["jobs"] / told["seconds"]),
        "worker_cpu_us": round(1e6 * told["cpu_seconds"] / told["jobs"], 1),
        **used,
    }


def single(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Insert one job per commit on an event loop."""
    return _produce(peer, url, "single", sizes.single_jobs, 0)


def single_sync(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Insert one job per commit without an event loop."""
    return _produce(peer, url, "single-sync", sizes.single_jobs)


def callers(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Insert single jobs from 50 tasks of one process at once."""
    return _produce(peer, url, "callers", sizes.callers_jobs, CALLERS_CONNECTIONS)


def bulk(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Insert 1,000 jobs per commit."""
    return _produce(peer, url, "batches", sizes.of(peer.bulk_jobs, sizes.bulk_jobs), sizes.batch)


def latency(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Measure the time from an enqueue to the start of its handler, on an idle worker."""
    with Worker(peer, url, sizes.concurrency or peer.concurrency) as worker:
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
        with Worker(peer, url, sizes.concurrency or peer.concurrency) as worker:
            time.sleep(2)
            with ThreadPoolExecutor(1) as pool:
                flow = pool.submit(play, peer, url, "flow", sizes.flow_seconds, sizes.flow_rate)
                shares = []
                for pause in (0.0, sizes.flow_seconds - 2 * sizes.window):
                    time.sleep(pause)
                    before, began = server.cpu(), time.time()
                    time.sleep(sizes.window)
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
    with (
        psycopg.connect(url, autocommit=True) as conn,
        Worker(peer, url, sizes.concurrency or peer.concurrency) as worker,
    ):
        time.sleep(1)
        meter, begin = Meter(conn), time.time()
        producer = play(peer, url, "steady", sizes.steady_seconds, sizes.steady_batch)
        done = meter.count(peer.done)
        seconds = time.time() - begin
        told = worker.stop()
        used = meter.used(done)
    return {
        "jobs_per_second": round(done / seconds),
        "enqueued_per_second": round(producer["jobs"] / producer["seconds"]),
        "backlog": producer["jobs"] - done,
        "worker_cpu_us": round(1e6 * told["cpu_seconds"] / max(1, done), 1),
        **used,
    }


def idle(peer: Peer, url: str, sizes: Sizes) -> dict:
    """Wait for jobs that do not come: transactions a second, and the CPU in percent of a core."""
    with (
        psycopg.connect(url, autocommit=True) as conn,
        Worker(peer, url, sizes.concurrency or peer.concurrency) as worker,
    ):
        # A session that has become idle adds its transactions to the statistics after ten seconds.
        time.sleep(IDLE_BEFORE)
        meter, began, cpu = Meter(conn), time.time(), cpu_of(worker.process.pid)
        time.sleep(sizes.idle_seconds)
        found = meter.rates(time.time() - began)
        cpu = (cpu_of(worker.process.pid) - cpu) / (time.time() - began)
    return {
        **found,
        "worker_percent": round(100 * cpu, 2),
        "percent": round(100 * cpu + found["server_percent"], 2),
    }


MEASURES = {
    "drain": drain, "analysed": analysed, "analysed-empty": analysed_empty, "enqueue": enqueue,
    "latency": latency, "steady": steady, "pinned": pinned, "single": single,
    "single-sync": single_sync, "callers": callers, "bulk": bulk, "idle": idle,
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
    "single": ("jobs_per_second", True),
    "single-sync": ("jobs_per_second", True),
    "callers": ("jobs_per_second", True),
    "bulk": ("jobs_per_second", True),
    "idle": ("transactions_per_second", False),
}
