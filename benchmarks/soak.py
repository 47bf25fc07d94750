"""A fleet under a steady load for an hour: ``python -m benchmarks soak --minutes 60 --load 0.6``.

First the workers drain a backlog.  Then they work for some minutes while the producers insert as
many jobs as they take and ended jobs are cleaned: that rate is all that this machine can do.  Then
the producers keep a part of it, and every ten seconds everything that could grow is written down.
At the end the second sixth of the time is compared with the last: what is not flat makes the exit
status 1.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psycopg

import awa_lib as awa
from benchmarks import watch
from benchmarks.server import facts, fresh, private_server
from tests.chaos.report import machine, write

DRIVERS = Path(__file__).resolve().parent / "drivers"
QUEUE = "mixed"
SLOTS = 100
DRAINS = 3
WATCHED_INDEXES = (
    "awa_jobs_hot_claim_by_kind", "awa_jobs_hot_running_by_queue", "jobs_hot_pkey",
    "idx_awa_jobs_hot_completed_finalized", "idx_awa_jobs_hot_dequeue",
)  # fmt: skip


@dataclass(frozen=True)
class Flat:
    """How much a figure may grow from the second sixth to the last."""

    ratio: float
    floor: float = 0.0
    """Growth by less than this is not counted."""


# Latency and CPU follow what else runs on the machine; sizes and memory do not.
LIMITS = {
    "worker RSS, MiB": Flat(1.05, 2.0),
    "worker PSS, MiB": Flat(1.05, 2.0),
    "producer RSS, MiB": Flat(1.05, 2.0),
    "private memory of backends, MiB": Flat(1.15, 5.0),
    "connections": Flat(1.0, 0.5),
    "tables, MiB": Flat(1.1, 5.0),
    "indexes, MiB": Flat(1.1, 5.0),
    "claim index, MiB": Flat(1.2, 1.0),
    "dead rows": Flat(1.5, 5000.0),
    "small tables, MiB": Flat(1.1, 0.5),
    "WAL per job, bytes": Flat(1.2),
    "jobs a second": Flat(1.1),
    "queue depth": Flat(1.5, 500.0),
    "pickup p50, ms": Flat(1.5, 3.0),
    "pickup p95, ms": Flat(1.5, 10.0),
    "pickup p99, ms": Flat(2.0, 20.0),
    "worker CPU per 1,000 jobs, ms": Flat(1.2),
    "server CPU per 1,000 jobs, ms": Flat(1.2),
    "log lines of the fleet per minute": Flat(1.0, 5.0),
    "log lines of the server per minute": Flat(1.0, 20.0),
    "CPU of others": Flat(math.inf),  # says what the rest is worth
}


class Process:
    """A process of the fleet, with its log."""

    def __init__(self, folder: Path, name: str, url: str, *argv: str, **env: str) -> None:
        self.name, self.log = name, folder / f"{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                argv, stdout=log, stderr=log, cwd=DRIVERS, start_new_session=True,
                env=os.environ | {"DATABASE_URL": url, "NOTES": str(folder)} | env,
            )  # fmt: skip
        self.pid = self.process.pid

    def check(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended:\n{self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Fleet:
    """A database, its workers and its producers."""

    def __init__(self, url: str, folder: Path, workers: int, stack: ExitStack) -> None:
        self.url, self.folder, self.stack = url, folder, stack
        self.wanted = workers
        self.workers: list[Process] = []
        self.producers: list[Process] = []

    def start_workers(self) -> None:
        argv = (sys.executable, "-m", "awa_cli", "worker", "mixed:client")
        for number in range(self.wanted):
            self._add(self.workers, f"worker-{number}", *argv, "--queue", f"{QUEUE}={SLOTS}")

    def start_producers(self, rate: float) -> None:
        for number in range(2):
            argv = (sys.executable, "mixed.py", "produce", str(rate / 2))
            self._add(self.producers, f"producer-{number}", *argv, HALF=str(number))

    def _add(self, group: list[Process], name: str, *argv: str, **env: str) -> None:
        group.append(Process(self.folder, name, self.url, *argv, **env))
        self.stack.callback(group[-1].stop)

    def stop(self) -> None:
        for group in (self.producers, self.workers):
            for one in group:
                one.stop()
            group.clear()

    def fill(self, jobs: int) -> None:
        subprocess.run(
            [sys.executable, "mixed.py", "fill", str(jobs)], cwd=DRIVERS, check=True,
            env=os.environ | {"DATABASE_URL": self.url, "NOTES": str(self.folder)},
        )  # fmt: skip

    def check(self) -> None:
        for one in (*self.workers, *self.producers):
            one.check()


def waiting(conn: psycopg.Connection) -> int:
    return int(
        conn.execute(
            "SELECT count(*) FROM awa.jobs_hot WHERE state = 'available' AND queue = %s", [QUEUE]
        ).fetchone()[0]
    )


def drain_rate(fleet: Fleet, conn: psycopg.Connection, jobs: int) -> float:
    """Return the jobs per second of workers that drain a backlog, from their first claim."""
    fleet.fill(jobs)
    conn.execute("VACUUM ANALYZE awa.jobs_hot")
    begin_left = left = waiting(conn)
    fleet.start_workers()
    began = time.monotonic()
    while left == begin_left:
        fleet.check()
        time.sleep(0.02)
        began, left = time.monotonic(), waiting(conn)
    first = left
    while left > begin_left / 5:
        fleet.check()
        time.sleep(0.2)
        left = waiting(conn)
    rate = (first - left) / (time.monotonic() - began)
    while waiting(conn):
        time.sleep(0.2)
    fleet.stop()
    return rate


def full_rate(fleet: Fleet, conn: psycopg.Connection, seconds: float) -> float:
    """Return the jobs per second of workers whose producers insert as many as they take.

    The second half counts: by then ended jobs are cleaned.
    """
    fleet.start_workers()
    fleet.start_producers(0)
    time.sleep(seconds / 2)
    began, left = time.monotonic(), waiting(conn)
    time.sleep(seconds / 2)
    fleet.check()
    ended, left = time.monotonic(), waiting(conn) - left
    for producer in fleet.producers:
        producer.stop()
    made = sum(count for at, count in notes_of(fleet.folder)[2] if began < at <= ended)
    while waiting(conn):
        time.sleep(0.2)
    fleet.stop()
    return (made - left) / (ended - began)


class Recorder:
    """Takes a sample of everything."""

    def __init__(self, fleet: Fleet, conn: psycopg.Connection, log: Path) -> None:
        self.fleet, self.conn, self.log = fleet, conn, log
        self.server = watch.ServerProcesses(conn)

    def sample(self) -> dict:
        fleet, conn = self.fleet, self.conn
        fleet.check()
        logs = [one.log for one in (*fleet.workers, *fleet.producers)]
        return {
            "t": time.monotonic(),
            "workers": {w.name: watch.memory_of(w.pid) for w in fleet.workers},
            "producers": {p.name: watch.memory_of(p.pid) for p in fleet.producers},
            "backends_mib": self.server.memory_mib(),
            "worker_cpu": sum(watch.cpu_of(w.pid) for w in fleet.workers),
            "producer_cpu": sum(watch.cpu_of(p.pid) for p in fleet.producers),
            "server_cpu": self.server.cpu(),
            "busy": watch.busy_seconds(),
            "connections": watch.connections(conn),
            "tables": watch.tables(conn),
            "indexes": watch.indexes(conn),
            "wal": watch.wal_bytes(conn),
            "waiting": waiting(conn),
            "log_lines": sum(map(watch.lines_in, logs)),
            "server_log_lines": watch.lines_in(self.log),
        }


def notes_of(folder: Path) -> tuple[dict[int, float], dict[int, float], list[tuple[float, int]]]:
    """Return when probes were committed, when their handlers began, and how many jobs were made."""
    inserted: dict[int, float] = {}
    started: dict[int, float] = {}
    made: list[tuple[float, int]] = []
    for path in folder.glob("*.notes"):
        before = 0
        for line in path.read_text().splitlines():
            what, number, at = line.split()
            if what == "made":
                made.append((float(at), int(number) - before))
                before = int(number)
            else:
                (inserted if what == "inserted" else started)[int(number)] = float(at)
    return inserted, started, made


def series(samples: list[dict], folder: Path) -> list[dict[str, float]]:
    """Return a row of the judged figures for each interval between two samples."""
    inserted, started, made = notes_of(folder)
    edges = [sample["t"] for sample in samples]
    pickups: defaultdict[int, list[float]] = defaultdict(list)
    jobs: defaultdict[int, int] = defaultdict(int)

    for number, at in inserted.items():
        # A probe that was never started has waited for at least this long.
        begun = started.get(number, edges[-1])
        pickups[bisect(edges, at)].append((begun - at) * 1000)
    for at, count in made:
        jobs[bisect(edges, at)] += count
    rows = []
    for i, (before, after) in enumerate(pairwise(samples), 1):
        seconds, count = after["t"] - before["t"], max(1, jobs[i])
        counters = (
            "worker_cpu",
            "server_cpu",
            "producer_cpu",
            "busy",
            "wal",
            "log_lines",
            "server_log_lines",
        )
        used = {key: after[key] - before[key] for key in counters}
        large = ("jobs_hot", "scheduled_jobs", "job_unique_claims")
        small = [t for name, t in after["tables"].items() if name not in large]
        found = pickups[i] or [math.nan]
        rows.append({
            "at": after["t"] - samples[0]["t"],
            "worker RSS, MiB": max(w["rss_mib"] for w in after["workers"].values()),
            "worker PSS, MiB": max(w["pss_mib"] for w in after["workers"].values()),
            "producer RSS, MiB": max(p["rss_mib"] for p in after["producers"].values()),
            "private memory of backends, MiB": after["backends_mib"],
            "connections": sum(after["connections"].values()),
            "tables, MiB": sum(t["mib"] for t in after["tables"].values()),
            "indexes, MiB": sum(after["indexes"].values()),
            "claim index, MiB": after["indexes"]["awa_jobs_hot_claim_by_kind"],
            "dead rows": sum(t["dead"] for t in after["tables"].values()),
            "small tables, MiB": sum(t["mib"] + t["indexes_mib"] for t in small),
            "WAL per job, bytes": used["wal"] / count,
            "jobs a second": count / seconds,
            "queue depth": after["waiting"],
            "pickup p50, ms": watch.percentile(found, 0.5),
            "pickup p95, ms": watch.percentile(found, 0.95),
            "pickup p99, ms": watch.percentile(found, 0.99),
            "worker CPU per 1,000 jobs, ms": used["worker_cpu"] * 1e6 / count,
            "server CPU per 1,000 jobs, ms": used["server_cpu"] * 1e6 / count,
            "log lines of the fleet per minute": 60 * used["log_lines"] / seconds,
            "log lines of the server per minute": 60 * used["server_log_lines"] / seconds,
            "CPU of others": (used["busy"] - used["worker_cpu"] - used["server_cpu"]
                              - used["producer_cpu"]) / seconds,
        })  # fmt: skip
    return rows


def slope(points: list[tuple[float, float]]) -> float:
    """Return the least-squares slope."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def judge(rows: list[dict[str, float]]) -> list[dict]:
    """Compare the second sixth with the last; a figure is flat when it did not grow beyond."""
    end = rows[-1]["at"]
    second = [row for row in rows if end / 6 <= row["at"] < end / 3]
    last = [row for row in rows if row["at"] >= end * 5 / 6]
    warm = [row for row in rows if row["at"] >= end / 6]
    verdicts = []
    for name, limit in LIMITS.items():
        before = statistics.fmean(row[name] for row in second)
        after = statistics.fmean(row[name] for row in last)
        hourly = slope([(row["at"], row[name]) for row in warm]) * 3600
        # A figure that is missing is not flat.
        flat = after <= before * limit.ratio or after - before <= limit.floor
        verdicts.append({
            "figure": name, "second": before, "last": after,
            "ratio": after / before if before else None, "per_hour": hourly,
            "highest": max(row[name] for row in warm), "flat": flat,
        })  # fmt: skip
    return verdicts


def number(value: float | None) -> str:
    if value is None:
        return "-"
    size = abs(value)
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def table(verdicts: list[dict]) -> str:
    lines = [
        "| figure | second sixth | last sixth | ratio | slope per hour | highest | flat |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in verdicts:
        cells = [number(one[key]) for key in ("second", "last", "ratio", "per_hour", "highest")]
        lines.append(
            f"| {one['figure']} | {' | '.join(cells)} | {'yes' if one['flat'] else '**no**'} |"
        )
    return "\n".join(lines)


@contextmanager
def fleet_of(folder: Path, workers: int, retention: float) -> Iterator[tuple]:
    """Yield a fleet on a server of its own, a connection, the server and its log."""
    with private_server() as server, ExitStack() as stack:
        url = fresh(server, "soak")
        with awa.Client(url) as client:
            client.migrate()
            hours = retention / 3600
            client.set_queue_policy(
                QUEUE, completed_retention_hours=hours, failed_retention_hours=hours
            )
        with psycopg.connect(url, autocommit=True) as conn:
            yield Fleet(url, folder, workers, stack), conn, server


def section(samples: list[dict], folder: Path, rate: float, load: float) -> list[str]:
    """Return the lines of the report."""
    rows = series(samples, folder)
    verdicts = judge(rows)
    jobs = statistics.fmean(row["jobs a second"] for row in rows)
    seconds = rows[-1]["at"]
    return [
        f"{machine()}.",
        f"All that the machine could do beside its other load: {rate:,.0f} jobs a second.",
        f"{load:.0%} of it for {seconds / 60:.0f} minutes: {jobs * seconds:,.0f} jobs.",
        "",
        table(verdicts),
    ]


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--load", type=float, default=0.6, help="part of the drain rate")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs of a drain")
    parser.add_argument("--full", type=float, default=400, help="seconds at full load before")
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--retention", type=float, default=180, help="seconds; kept of ended jobs")
    parser.add_argument("--keep", type=Path, help="folder that keeps samples, notes and logs")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    chosen = parser.parse_args(words)
    with (
        nullcontext(chosen.keep)
        if chosen.keep
        else tempfile.TemporaryDirectory(prefix="awa-soak-") as folder,
        fleet_of(Path(folder), chosen.workers, chosen.retention) as (fleet, conn, server),
    ):
        print(json.dumps({"machine": facts(server), "command": " ".join(words)}), flush=True)
        rates = [drain_rate(fleet, conn, chosen.jobs) for _ in range(DRAINS)]
        print(json.dumps({"drain_rates": rates}), flush=True)
        rate = full_rate(fleet, conn, chosen.full)
        print(json.dumps({"full_rate": rate, "rate": rate * chosen.load}), flush=True)
        fleet.start_workers()
        fleet.start_producers(rate * chosen.load)
        recorder = Recorder(fleet, conn, server.data_dir / "server.log")
        samples: list[dict] = []
        began = time.monotonic()
        while samples == [] or samples[-1]["t"] < began + chosen.minutes * 60:
            time.sleep(max(0.0, began + len(samples) * chosen.every - time.monotonic()))
            samples.append(recorder.sample())
            with (Path(folder) / "samples.jsonl").open("a") as file:
                print(json.dumps(samples[-1]), file=file)
        for producer in fleet.producers:
            producer.stop()
        verdicts = judge(series(samples, Path(folder)))
        lines = section(samples, Path(folder), rate, chosen.load)
        print("\n".join(lines))
        if chosen.write:
            write("soak", lines)
    return 0 if all(one["flat"] for one in verdicts) else 1
