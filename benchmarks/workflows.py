"""How fast workflows are: ``python -m benchmarks workflows --tasks 10000 --reps 3``.

Each shape has as many tasks as a plain queue has jobs, and its time runs from the worker's start to
the end of the workflow.  The shapes take turns on one server.  Prints a JSON line for each run and
a summary: medians, and the ratio to the drain of the plain queue.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import psycopg

import awa_lib as awa
from benchmarks.measures import Sizes, Worker, drain, play
from benchmarks.peers import PEERS
from benchmarks.server import facts, fresh, private_server
from benchmarks.watch import Meter, ServerProcesses

AWA = PEERS["awa"]
LAYERS, PARENTS = 20, 3
CHAIN_PART = 10  # a chain has a tenth of the tasks: each waits for the one before
SMALL = 5  # tasks of a small workflow
PAIRS = 200
LARGE = 100_000
OPEN = "SELECT count(*) FROM awa.workflows WHERE state = 'open'"
LONGEST = 300.0
# From the end of the last parent to the start of the child, by the server's clock.
STARTS = """
    SELECT 1000 * extract(epoch FROM child.attempted_at - last.finalized_at)::float8
    FROM awa.workflow_nodes AS c
    JOIN awa.jobs_hot AS child ON child.id = c.job_id
    CROSS JOIN LATERAL (
        SELECT max(job.finalized_at) AS finalized_at
        FROM awa.workflow_edges AS e
        JOIN awa.workflow_nodes AS p
          ON p.workflow_id = e.workflow_id AND e.parent IN (p.number, p.group_number)
        JOIN awa.jobs_hot AS job ON job.id = p.job_id
        WHERE e.workflow_id = c.workflow_id AND e.child = c.number
    ) AS last
    WHERE c.name = 'child'"""


def jobs(count: int) -> list[dict]:
    return [{"n": n, "t": 0.0} for n in range(count)]


def fan_in(flow: awa.Workflow, tasks: int) -> None:
    parts = flow.add_many(jobs(tasks - 1), kind="noop", queue="q")
    flow.add(jobs(1)[0], kind="noop", queue="q", after=parts)


def fan_out(flow: awa.Workflow, tasks: int) -> None:
    first = flow.add(jobs(1)[0], kind="noop", queue="q")
    flow.add_many(jobs(tasks - 1), kind="noop", queue="q", after=first)


def layers(flow: awa.Workflow, tasks: int) -> None:
    """Each task waits for three of the layer before."""
    above: list = []
    width = tasks // LAYERS
    for layer in range(LAYERS):
        above = [
            flow.add(
                args, kind="noop", queue="q", name=f"t{layer}.{n}",
                after=[above[(n + step) % width] for step in range(PARENTS)] if above else None,
            )
            for n, args in enumerate(jobs(width))
        ]  # fmt: skip


def chain(flow: awa.Workflow, tasks: int) -> None:
    last = None
    for n, args in enumerate(jobs(tasks // CHAIN_PART)):
        last = flow.add(args, kind="noop", queue="q", name=f"t{n}", after=last)


def small(flow: awa.Workflow, tasks: int) -> None:
    """A task, three behind it, and one behind those."""
    first = flow.add(jobs(1)[0], kind="noop", queue="q")
    middle = flow.add_many(jobs(SMALL - 2), kind="noop", queue="q", after=first)
    flow.add(jobs(1)[0], kind="noop", queue="q", after=middle)


SHAPES: dict[str, Callable[[awa.Workflow, int], None]] = {
    "fan-in": fan_in, "fan-out": fan_out, "layers": layers, "chain": chain, "many small": small,
}  # fmt: skip


def shape(url: str, name: str, tasks: int) -> dict:
    """Insert a workflow, or many small ones, then let a worker run them to their ends."""
    count = tasks // SMALL if name == "many small" else 1
    with awa.Client(url) as client:
        began = time.perf_counter()
        for _ in range(count):
            with client.workflow("bench") as flow:
                SHAPES[name](flow, tasks)
        insert = time.perf_counter() - began
        tasks = count * len(flow)
    with (
        psycopg.connect(url, autocommit=True) as conn,
        Worker(AWA, url, AWA.concurrency, held=True) as worker,
    ):
        conn.execute("VACUUM ANALYZE")
        conn.execute("CHECKPOINT")
        meter = Meter(conn)
        worker.let_go()
        worker.wait_until_ready()
        while meter.count(OPEN):
            if not worker.lives or time.time() > worker.ready + LONGEST:
                raise RuntimeError(f"the workflow has not ended:\n{worker.errors()[-2000:]}")
            # A look costs the server less than a task.
            time.sleep(0.002 if worker.handled >= tasks else 0.02)
        seconds = time.time() - worker.ready
        told = worker.stop()
        used = meter.used(tasks)
    return {
        "jobs": tasks, "jobs_per_second": round(tasks / seconds),
        "insert_seconds": round(insert, 2),
        "worker_cpu_us": round(1e6 * told["cpu_seconds"] / tasks, 1), **used,
    }  # fmt: skip


def plain_chain(url: str, tasks: int) -> dict:
    """Run jobs of a plain queue one after another: each end enqueues the next."""
    jobs = tasks // CHAIN_PART
    peer = replace(AWA, environment={"BENCH_CHAIN": "1"})
    with (
        psycopg.connect(url, autocommit=True) as conn,
        Worker(peer, url, AWA.concurrency) as worker,
        awa.Client(url) as client,
    ):
        meter = Meter(conn)
        began = time.time()
        client.insert({"n": jobs - 1}, kind="noop", queue="q")
        while meter.count(AWA.done) < jobs:
            if not worker.lives or time.time() > began + LONGEST:
                raise RuntimeError(f"the chain has not ended:\n{worker.errors()[-2000:]}")
            time.sleep(0.002 if worker.handled >= jobs else 0.02)
        seconds = time.time() - began
        told = worker.stop()
        used = meter.used(jobs)
    return {
        "jobs": jobs, "jobs_per_second": round(jobs / seconds),
        "worker_cpu_us": round(1e6 * told["cpu_seconds"] / jobs, 1), **used,
    }  # fmt: skip


def starts(url: str) -> dict:
    """Insert pairs of parents with a child, one after another, and measure when the child starts.

    The worker is idle in between.
    """
    with Worker(AWA, url, AWA.concurrency) as worker, awa.Client(url) as client:
        for _ in range(PAIRS):
            with client.workflow("pair") as flow:
                parents = flow.add_many(jobs(2), kind="noop", queue="q")
                flow.add(jobs(1)[0], kind="noop", queue="q", name="child", after=parents)
            time.sleep(0.05)
        with psycopg.connect(url, autocommit=True) as conn:
            until = time.time() + LONGEST
            while conn.execute(OPEN).fetchone()[0]:
                if not worker.lives or time.time() > until:
                    raise RuntimeError(f"workflows have not ended:\n{worker.errors()[-2000:]}")
                time.sleep(0.1)
            found = sorted(row[0] for row in conn.execute(STARTS))
    return {"pairs": len(found), **{
        f"p{p}_ms": round(found[len(found) * p // 100], 2) for p in (50, 95, 99)
    }}  # fmt: skip


def insert(url: str) -> dict:
    """Insert a workflow of 100,000 tasks and 285,000 edges, and as many plain jobs.

    CPU seconds of this process and of the server; ``bare_copy`` is what the server needs to read
    the finished rows of nodes and edges into empty tables with their indexes.  ``of_aim`` is the
    share of what the workflow may cost: twice the plain jobs and the bare COPY.
    """
    with psycopg.connect(url, autocommit=True) as conn, awa.Client(url) as client:
        server = ServerProcesses(conn)
        plain, flow, bare = Cpu(server), Cpu(server), Cpu(server)
        client.insert_many(jobs(1), kind="noop", queue="q")
        with plain:
            client.insert_many(jobs(LARGE), kind="noop", queue="q")
        with flow, client.workflow("large") as large:
            layers(large, LARGE)
        for table in ("workflow_nodes", "workflow_edges"):
            with conn.cursor().copy(f"COPY awa.{table} TO STDOUT") as copy:
                rows = b"".join(copy)
            conn.execute(f"TRUNCATE awa.{table}")
            with bare, conn.cursor().copy(f"COPY awa.{table} FROM STDIN") as copy:
                copy.write(rows)
    aim = 2 * (plain.client + plain.server) + bare.server
    return {
        "plain_client": round(plain.client, 2), "plain_server": round(plain.server, 2),
        "client": round(flow.client, 2), "server": round(flow.server, 2),
        "bare_copy": round(bare.server, 2), "of_aim": round((flow.client + flow.server) / aim, 2),
    }  # fmt: skip


class Cpu:
    """CPU seconds of this process and of a server, while it is entered."""

    def __init__(self, server: ServerProcesses) -> None:
        self._of = server
        self.client = self.server = 0.0

    def __enter__(self) -> None:
        self.client -= time.process_time()
        self.server -= self._of.cpu()

    def __exit__(self, *_: object) -> None:
        self.client += time.process_time()
        self.server += self._of.cpu()


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks workflows", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument(
        "--only",
        default=",".join([*SHAPES, "plain chain", "insert", "starts"]),
        help="comma-separated names of shapes",
    )
    chosen = parser.parse_args(words)
    names = ["plain", *chosen.only.split(",")]
    runs: dict[str, list[dict]] = {name: [] for name in names}
    with private_server() as server:
        print(json.dumps({"machine": facts(server)}), flush=True)
        for rep in range(chosen.reps):
            for name, found in runs.items():
                url = fresh(server, "bench")
                play(AWA, url, "setup")
                if name == "plain":
                    figures = drain(AWA, url, Sizes(drain_jobs=chosen.tasks))
                elif name == "insert":
                    figures = insert(url)
                elif name == "starts":
                    figures = starts(url)
                elif name == "plain chain":
                    figures = plain_chain(url, chosen.tasks)
                else:
                    figures = shape(url, name, chosen.tasks)
                found.append(figures)
                print(json.dumps({"shape": name, "rep": rep, **figures}), flush=True)
    print(json.dumps({"summary": summary(runs)}))
    return 0


def summary(runs: dict[str, list[dict]]) -> dict:
    """Return medians, and how many times the time of a plain job a task takes."""
    plain = statistics.median(one["jobs_per_second"] for one in runs["plain"])
    told = {}
    for name, found in runs.items():
        medians = {key: statistics.median(one[key] for one in found) for key in found[0]}
        if "jobs_per_second" in medians:
            medians["times_plain"] = round(plain / medians["jobs_per_second"], 2)
        told[name] = medians
    return told
