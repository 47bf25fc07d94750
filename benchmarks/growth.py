"""How it grows: ``python -m benchmarks growth --short``.

Waiting jobs, processes, queues, scheduled jobs, retention beside load, pages over many rows.
Prints JSON lines, and with --results keeps them; ``python -m benchmarks report --from`` makes the
tables and the curves of them.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import psycopg

from awa_lib._sql import Op, sql
from awa_lib.codec.pgtext import int_array
from awa_lib.db.drive import run
from awa_lib.reads import activity, failures, jobs, overviews, runtime
from awa_lib.runtime.sessions import HOT_PLANS
from benchmarks import measures
from benchmarks.measures import Sizes, Worker, play
from benchmarks.peers import PEERS, Peer
from benchmarks.results import Log, command_of
from benchmarks.server import facts, fresh, private_server

MOST = 10_000_000
BLOCK = 500_000
CLAIM = 200
LOOKS = 20
DUE_PER_SECOND = 2_000
FLOW_RATE = 1_000
WAITING = """
    INSERT INTO awa.jobs_hot (kind, queue, args, run_at)
    SELECT 'noop', 'q', jsonb_build_object('n', i), now() - interval '1 h'
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i"""
# Due one after another from a moment on; the handler learns when its job was due.
DUE = """
    INSERT INTO awa.scheduled_jobs (kind, queue, args, run_at)
    SELECT 'noop', 'q',
           jsonb_build_object('n', i, 't', extract(epoch FROM at.due)), at.due
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
    CROSS JOIN LATERAL (
        SELECT to_timestamp(%(begin)s + (i - 1) * %(pause)s::float8) AS due
    ) AS at"""
# Most have ended, in queues and kinds of different sizes.
ENDED = """
    INSERT INTO awa.jobs_hot (kind, queue, args, state, attempt, run_lease, run_at, created_at,
                              attempted_at, finalized_at, tags, errors)
    SELECT 'kind' || i %% 10, 'queue' || i %% 7, jsonb_build_object('customer', i %% 1000),
           s.state::awa.job_state, CASE WHEN s.state = 'available' THEN 0 ELSE 1 END, 7,
           t.at, t.at,
           CASE WHEN s.state <> 'available' THEN t.at END,
           CASE WHEN s.state <> 'available' THEN t.at + interval '1 s' END,
           CASE WHEN i %% 100 = 0 THEN '{{vip}}'::text[] ELSE '{{}}' END,
           CASE WHEN s.state = 'failed' THEN ARRAY[jsonb_build_object(
               'error', 'refused: ' || i %% 50, 'attempt', 1, 'at', t.at, 'terminal', true)]
           ELSE '{{}}' END
    FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS i
    CROSS JOIN LATERAL (SELECT {state} AS state) AS s
    CROSS JOIN LATERAL (SELECT now() - interval '{age}' + i * interval '1 us' AS at) AS t"""
MIXED_STATE = (
    # Each kind and each queue has jobs of every state.
    "CASE WHEN i / 70 %% 20 < 14 THEN 'completed' WHEN i / 70 %% 20 < 18 THEN 'available'"
    " WHEN i / 70 %% 20 = 18 THEN 'failed' ELSE 'cancelled' END"
)


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    short: bool = False
    most: int = MOST

    @property
    def sizes(self) -> Sizes:
        if self.short:
            return Sizes(
                drain_jobs=min(self.most, 20_000), steady_seconds=4.0, idle_seconds=10.0,
                flow_seconds=45.0, rows=min(self.most, 300_000), due_at_once=100_000,
            )  # fmt: skip
        return Sizes(
            drain_jobs=min(self.most, 60_000), steady_seconds=10.0, idle_seconds=30.0,
            flow_seconds=180.0, rows=min(self.most, 1_000_000),
        )  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """Something that grows: its points, and what is measured at each."""

    title: str
    what: str
    axis: str
    points: tuple[object, ...]
    short: tuple[object, ...]
    """The points with --short."""
    measure: Callable[[Peer, str, object, Sizes], dict]
    figures: tuple[str, ...]
    """The figures of its table; those of the plot come first."""
    plotted: int = 1
    seconds: Callable[[object, Sizes], float] = lambda point, sizes: 12.0
    """About how long a point takes."""

    def chosen(self, size: Size) -> list[object]:
        """Return the points that are no larger than the most; without such a point, the most."""
        points = self.short if size.short else self.points
        kept = [one for one in points if not isinstance(one, int) or one <= size.most]
        return kept or [size.most]


def fill(conn: psycopg.Connection, statement: str, count: int, **given: object) -> None:
    """Insert rows with one statement per block."""
    for first in range(1, count + 1, BLOCK):
        last = min(first + BLOCK - 1, count)
        conn.execute(statement, {"first": first, "last": last, **given})
    conn.execute("VACUUM ANALYZE")
    conn.execute("CHECKPOINT")


def claim_ms(conn: psycopg.Connection) -> float:
    """Return the median time of claims that are rolled back."""
    statement = sql.claims(
        "claim_kind", queue="q", kind="noop", limit=CLAIM, deadline_seconds=300.0, lease=1,
        passing=int_array([]),
    )  # fmt: skip
    cursor, found = psycopg.RawCursor(conn), []
    for _ in range(LOOKS):
        with conn.transaction(force_rollback=True):
            for name, value in HOT_PLANS:
                conn.execute("SELECT set_config(%s, %s, true)", [name, value])
            began = time.perf_counter()
            cursor.execute(statement.query.text, statement.values).fetchall()
            found.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(found), 2)


def waiting(peer: Peer, url: str, point: object, sizes: Sizes) -> dict:
    with psycopg.connect(url, autocommit=True) as conn:
        fill(conn, WAITING, int(point))
        cost = claim_ms(conn)
    with Worker(peer, url, peer.concurrency) as worker:
        time.sleep(sizes.steady_seconds)
        stopped, told = time.time(), worker.stop()
    # A short queue may have been empty before.
    seconds = min(stopped - worker.ready, told["last"] - worker.ready)
    return {
        "jobs_per_second": round(told["handled"] / seconds),
        "claim_ms": cost, "worker_rss_mib": told["rss_mib"],
    }  # fmt: skip


def processes(peer: Peer, url: str, point: object, sizes: Sizes) -> dict:
    return measures.drain(peer, url, sizes, workers=int(point))


def queues(peer: Peer, url: str, point: object, sizes: Sizes) -> dict:
    many = replace(peer, environment={**peer.environment, "BENCH_QUEUES": str(point)})
    # The drain leaves nothing to do.
    return measures.drain(many, url, sizes) | measures.idle(many, url, sizes)


def scheduled(peer: Peer, url: str, point: object, sizes: Sizes) -> dict:
    """Let jobs become due at a rate, or all at once, among many that are not."""
    at_once = point == AT_ONCE
    seconds = sizes.idle_seconds
    due = min(sizes.due_at_once, sizes.rows) if at_once else int(DUE_PER_SECOND * seconds)
    later = max(sizes.rows - due, 0)
    with psycopg.connect(url, autocommit=True) as conn:
        fill(conn, DUE, later, begin=time.time() + 86_400, pause=0.001)
        # The rows must be there before the first is due, and the worker needs a moment to lead.
        begin = time.time() + 15 + due / 5_000
        fill(conn, DUE, due, begin=begin, pause=0 if at_once else 1 / DUE_PER_SECOND)
        with Worker(peer, url, peer.concurrency) as worker:
            if time.time() > begin:
                raise RuntimeError("the jobs were due before the worker ran")
            until = begin + (0 if at_once else seconds) + LONGEST_LATENESS
            done = 0
            while done < due and time.time() < until:
                time.sleep(0.25)
                done = int(conn.execute(peer.done).fetchone()[0])
            told = worker.stop()
    return {
        "jobs": done, "left": due - done,
        "seconds": round(told["last"] - begin, 2),
        **{name: told[name] for name in ("p50_ms", "p99_ms")},
    }  # fmt: skip


AT_ONCE = "at once"
LONGEST_LATENESS = 60.0


def retention(peer: Peer, url: str, point: object, sizes: Sizes) -> dict:
    """Work a flow while rows past their retention are deleted."""
    left = "SELECT count(*) FROM awa.jobs_hot WHERE queue LIKE 'queue%'"
    with psycopg.connect(url, autocommit=True) as conn:
        fill(conn, ENDED.format(state="'completed'", age="3 days"), int(point))
        with Worker(peer, url, peer.concurrency) as worker, ThreadPoolExecutor(1) as pool:
            time.sleep(2)
            flow = pool.submit(play, peer, url, "flow", sizes.flow_seconds, FLOW_RATE)
            flow.result()
            remain = int(conn.execute(left).fetchone()[0])
            time.sleep(1)
            told = worker.stop()
    return {
        "deleted": int(point) - remain, "left": remain,
        **{name: told[name] for name in ("p50_ms", "p95_ms", "p99_ms")},
    }  # fmt: skip


PAGES: dict[str, Callable[[], Op[object]]] = {
    "jobs": lambda: jobs.job_rows(limit=50),
    "jobs of a state": lambda: jobs.job_rows(states=["failed"], limit=50),
    "jobs of a kind": lambda: jobs.job_rows(kind="kind3", limit=50),
    "jobs of a queue": lambda: jobs.job_rows(queue="queue3", limit=50),
    "jobs of a kind and state": lambda: jobs.job_rows(kind="kind3", states=["failed"], limit=50),
    "jobs with a tag": lambda: jobs.job_rows(tag="vip", limit=50),
    "jobs with a tag of none": lambda: jobs.job_rows(tag="nobody", limit=50),
    "jobs, the last to end first": lambda: jobs.job_rows(sort="-finalized_at", limit=50),
    "queues": overviews.list_queues,
    "a queue": lambda: overviews.queue_details("queue3"),
    "kinds": overviews.list_kinds,
    "workers": runtime.runtime_overview,
    "failures": failures.list_failures,
    "activity": activity.recent_transitions,
}


def pages(peer: Peer, url: str, point: object, sizes: Sizes) -> dict:
    """Read what the pages and the lists show, and name the indexes of their plans."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as conn:
        fill(conn, ENDED.format(state=MIXED_STATE, age="1 h"), int(point))
        conn.execute("SET statement_timeout = '30s'")
        found = {name: look(conn, make) for name, make in PAGES.items()}
    return {
        "slowest_ms": max(one["ms"] for one in found.values()),
        "slowest": max(found, key=lambda name: found[name]["ms"]),
        "pages": found,
    }


def noting(op: Op[object], seen: list) -> Op[object]:
    """Return the op, and note its statements on the way."""
    try:
        statement = next(op)
        while True:
            seen.append(statement)
            statement = op.send((yield statement))
    except StopIteration as stop:
        return stop.value


def look(conn: psycopg.Connection, make: Callable[[], Op[object]]) -> dict:
    """Return the median time of a read, and the indexes that its statements use."""
    times = []
    for _ in range(3):
        seen: list = []
        began = time.perf_counter()
        run(conn, noting(make(), seen))
        times.append(1000 * (time.perf_counter() - began))
    used: set[str] = set()
    large = {name for (name,) in conn.execute(LARGE)}
    for statement in seen:
        if statement.query.text:
            explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + statement.query.text
            ((plan,),) = psycopg.RawCursor(conn).execute(explain, statement.values).fetchall()
            used |= set(indexes(plan[0]["Plan"], large))
    return {"ms": round(statistics.median(times), 1), "indexes": sorted(used)}


LARGE = "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples > 1000"


def indexes(plan: dict, large: set[str]) -> Iterator[str]:
    """Yield the indexes of a plan, and the large tables that it reads from end to end."""
    if not plan["Actual Loops"]:
        return  # not executed
    if "Index Name" in plan:
        yield plan["Index Name"]
    elif plan.get("Relation Name") in large and plan["Node Type"] == "Seq Scan":
        yield f"all of {plan['Relation Name']}"
    for part in plan.get("Plans", ()):
        yield from indexes(part, large)


CURVES = {
    "waiting": Curve(
        "Waiting jobs",
        "Claims and drains for some seconds with this many waiting jobs of one kind.",
        "waiting jobs", (20_000, 100_000, 1_000_000, 3_000_000, 10_000_000),
        (20_000, 1_000_000), waiting,
        ("jobs_per_second", "claim_ms", "worker_rss_mib"),
        seconds=lambda point, sizes: 7 + sizes.steady_seconds + int(point) / 45_000,
    ),
    "processes": Curve(
        "Processes", "A drain by several worker processes on the same machine.",
        "processes", (1, 2, 4, 8, 16), (1, 2, 4), processes,
        ("jobs_per_second", "commits", "server_cpu_us", "worker_cpu_us"),
        seconds=lambda point, sizes: 8 + int(point),
    ),
    "queues": Curve(
        "Queues", "A drain over this many queues, and the same worker idle afterwards.",
        "queues", (1, 10, 100, 200, 1_000), (1, 1_000), queues,
        ("jobs_per_second", "transactions_per_second", "worker_percent", "server_percent"),
        seconds=lambda point, sizes: 22 + sizes.idle_seconds,
    ),
    "scheduled": Curve(
        "Scheduled jobs",
        "Jobs become due at a rate, or all at once, among those of a million (300,000 with --short)"
        " that are not yet. From the time at which a job is due to the start of its handler.",
        "due", (f"{DUE_PER_SECOND:,} a second", AT_ONCE),
        (f"{DUE_PER_SECOND:,} a second", AT_ONCE), scheduled,
        ("p50_ms", "p99_ms", "jobs", "left", "seconds"), plotted=2,
        seconds=lambda point, sizes: 40 + sizes.idle_seconds + sizes.rows / 40_000,
    ),
    "retention": Curve(
        "Retention",
        "The pickup of a flow of 1,000 jobs a second, while the rows of jobs that ended three"
        " days ago are deleted.",
        "rows past their retention", (0, 1_000_000, 3_000_000), (1_000_000,), retention,
        ("p50_ms", "p99_ms", "p95_ms", "deleted", "left"), plotted=2,
        seconds=lambda point, sizes: 8 + sizes.flow_seconds + int(point) / 30_000,
    ),
    "pages": Curve(
        "Pages and lists",
        "What the pages and the lists read, of jobs most of which have ended. The indexes are"
        " those of the plans.",
        "rows", (100_000, 1_000_000, 10_000_000), (1_000_000,), pages,
        ("slowest_ms", "slowest"), seconds=lambda point, sizes: 10 + int(point) / 30_000,
    ),
}  # fmt: skip


def estimate(names: list[str], size: Size, reps: int) -> float:
    """Return about how many seconds it will take."""
    return reps * sum(
        CURVES[name].seconds(point, size.sizes)
        for name in names
        for point in CURVES[name].chosen(size)
    )


def measure(server, names: list[str], size: Size, reps: int, log: Log) -> None:
    """Measure all points, in turns; what fails is a note."""
    peer, sizes = PEERS["awa"], size.sizes
    for rep in range(reps):
        for name in names:
            for point in CURVES[name].chosen(size):
                line = {"curve": name, "point": point, "rep": rep,
                        "load": round(os.getloadavg()[0], 2)}  # fmt: skip
                try:
                    url = fresh(server, "bench")
                    play(peer, url, "setup")
                    found = CURVES[name].measure(peer, url, point, sizes)
                except Exception as error:
                    found = {"error": str(error)[-800:]}
                log.add({**line, "at": round(time.time()), **found})


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks growth", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer points, up to a million rows")
    parser.add_argument("--only", default=",".join(CURVES), help=f"of {', '.join(CURVES)}")
    parser.add_argument("--reps", type=int, default=1)
    parser.add_argument("--most", type=int, help="leave out points with more rows")
    parser.add_argument("--results", help="add the lines to this file")
    chosen = parser.parse_args(words)
    names = chosen.only.split(",")
    if unknown := set(names) - set(CURVES):
        parser.error(f"unknown curve {min(unknown)!r}; there are {', '.join(CURVES)}")
    size = Size(short=chosen.short, most=chosen.most or MOST)
    about = estimate(names, size, chosen.reps) / 60
    print(f"about {math.ceil(about)} min", file=sys.stderr)
    with private_server() as server, Log(chosen.results, echo=True) as log:
        command = command_of("growth", words)
        log.add({"machine": facts(server), "command": command, "at": round(time.time())})
        measure(server, names, size, chosen.reps, log)
    return 0
