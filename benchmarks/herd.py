"""Workers that start after an outage: ``python -m benchmarks herd --jobs 1000000``.

The database holds a million available jobs, a fifth as many that are due, jobs of dead workers,
callbacks that timed out and schedules that missed an hour.  Then all workers start at once.
Prints JSON lines: a small queue for comparison, the state every few seconds, and a summary.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

import awa_lib as awa
from awa_lib._sql import sql
from awa_lib.codec.pgtext import int_array
from awa_lib.runtime.sessions import HOT_PLANS
from benchmarks import watch
from benchmarks.server import facts, fresh, private_server
from benchmarks.soak import QUEUE, Process
from tests.chaos.report import machine, write

KINDS = ["asking", "flaky", "holding", "plain", "probe", "progress", "tick", "unique"]
CLAIM = 100
AVAILABLE = """
    INSERT INTO awa.jobs_hot (kind, queue, args, run_at)
    SELECT 'plain', %(queue)s, jsonb_build_object('n', i), now() - interval '1 h'
    FROM generate_series(1, %(count)s) AS i"""
DUE = """
    INSERT INTO awa.scheduled_jobs (kind, queue, args, state, run_at)
    SELECT 'plain', %(queue)s, jsonb_build_object('n', i),
           CASE WHEN i %% 2 = 0 THEN 'scheduled' ELSE 'retryable' END::awa.job_state,
           now() - i * interval '10 ms'
    FROM generate_series(1, %(count)s) AS i"""
STALE = """
    INSERT INTO awa.jobs_hot (kind, queue, args, state, attempt, run_lease, attempted_at,
                              heartbeat_at, deadline_at, run_at)
    SELECT 'plain', %(queue)s, '{}', 'running', 1, 7, now() - interval '1 h',
           now() - interval '1 h', NULL, now() - interval '1 h'
    FROM generate_series(1, %(count)s)"""
TIMED_OUT = """
    INSERT INTO awa.jobs_hot (kind, queue, args, state, attempt, run_lease, callback_id,
                              callback_timeout_at, run_at, max_attempts)
    SELECT 'plain', %(queue)s, '{}', 'waiting_external', 1, 7, gen_random_uuid(),
           now() - interval '1 h', now() - interval '1 h', 1
    FROM generate_series(1, %(count)s)"""


def claim_cost(conn: psycopg.Connection) -> dict[str, float]:
    """Return the time and the pages of a claim that is rolled back."""
    statement = sql.claims(
        "claim_kinds", queue=QUEUE, kinds=KINDS, limit=CLAIM, deadline_seconds=300.0, lease=1,
        passing=int_array([]),
    )  # fmt: skip
    with conn.transaction(force_rollback=True):
        for name, value in HOT_PLANS:
            conn.execute("SELECT set_config(%s, %s, true)", [name, value])
        cursor = psycopg.RawCursor(conn)
        explain = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement.query.text
        ((plan,),) = cursor.execute(explain, statement.values).fetchall()
    top = plan[0]["Plan"]
    return {
        "claim_ms": round(plan[0]["Execution Time"], 2),
        "claim_pages": top["Shared Hit Blocks"] + top["Shared Read Blocks"],
    }


COUNTS = """
    SELECT (SELECT count(*) FROM awa.jobs_hot WHERE state = 'available') AS available,
           (SELECT count(*) FROM awa.scheduled_jobs WHERE run_at <= now()) AS due,
           (SELECT count(*) FROM awa.jobs_hot WHERE state = 'running'
                AND heartbeat_at < now() - interval '90 s') AS stale,
           (SELECT count(*) FROM awa.jobs_hot WHERE state = 'waiting_external') AS timed_out,
           (SELECT count(*) FROM awa.jobs_hot WHERE state = 'running') AS running,
           (SELECT count(*) FROM awa.jobs_hot WHERE state = 'completed'
                AND kind = 'plain') AS completed"""


def look(conn: psycopg.Connection) -> dict[str, int]:
    cursor = conn.execute(COUNTS)
    return dict(zip([c.name for c in cursor.description], cursor.fetchone(), strict=True))


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024, 1)


def start(url: str, folder: Path, count: int, stack: ExitStack) -> list[Process]:
    argv = (sys.executable, "-m", "awa_cli", "worker", "mixed:client", "--queue", f"{QUEUE}=100")
    found = [Process(folder, f"worker-{number}", url, *argv) for number in range(count)]
    for one in found:
        stack.callback(one.stop)
    return found


def small(url: str, conn: psycopg.Connection, folder: Path, workers: int, jobs: int) -> float:
    """Return the jobs per second of a small queue, from the first end to the last."""
    conn.execute(AVAILABLE, {"queue": QUEUE, "count": jobs})
    conn.execute("VACUUM ANALYZE awa.jobs_hot")
    with ExitStack() as stack:
        start(url, folder, workers, stack)
        done, began = 0, time.monotonic()
        while done < jobs:
            time.sleep(0.1)
            before, done = done, look(conn)["completed"]
            if not before:
                began, first = time.monotonic(), done
        return (jobs - first) / (time.monotonic() - began)


def drain(
    conn: psycopg.Connection, workers: list[Process], began: float, every: float, seconds: float
) -> list[dict]:
    """Follow the drain until nothing is left to do; print and return what was seen."""
    seen = []
    while not seen or (
        any(seen[-1][key] for key in ("available", "due", "stale", "timed_out", "running"))
        and time.monotonic() < began + seconds
    ):
        time.sleep(every if seen else 0.0)
        for one in workers:
            one.check()
        seen.append({
            "t": round(time.monotonic() - began, 1), **look(conn), **claim_cost(conn),
            "claim_index_mib": watch.indexes(conn)["awa_jobs_hot_claim_by_kind"],
            "dead": watch.tables(conn)["jobs_hot"]["dead"],
        })  # fmt: skip
        print(json.dumps(seen[-1]), flush=True)
    return seen


def rates(seen: list[dict]) -> list[float]:
    """Return the jobs per second of each third, until no job waits."""
    seen = [one for one in seen if one["available"] > 100]
    last = seen[-1]["completed"]
    found = []
    for part in range(3):
        reached = [s for s in seen if last * part / 3 <= s["completed"] <= last * (part + 1) / 3]
        if len(reached) > 1:
            done = reached[-1]["completed"] - reached[0]["completed"]
            found.append(round(done / (reached[-1]["t"] - reached[0]["t"])))
    return found


def claims_of(seen: list[dict]) -> list[dict]:
    """Return the first claim, the dearest, and one of the last from a queue that is not empty."""
    full = [one for one in seen if one["available"] > 10 * CLAIM]
    chosen = (full[0], max(full, key=lambda one: one["claim_pages"]), full[-1])
    return [{k: s[k] for k in ("claim_ms", "claim_pages", "claim_index_mib")} for s in chosen]


def section(found: dict) -> list[str]:
    """Return the lines of the report."""
    left, claims = found["none_left_after"], found["claims"]
    thirds = " / ".join(f"{rate:,}" for rate in found["rates"])
    pages = " / ".join(f"{claim['claim_pages']:,}" for claim in claims)
    sizes = " / ".join(f"{claim['claim_index_mib']:.0f}" for claim in claims)
    rows = {
        "available jobs": f"{found['jobs']:,}",
        "worker processes": found["workers"],
        "start of the processes to the first completed job, s": found["first_job_seconds"],
        "no due job left after, s": left["due"],
        "no job of a dead worker left after, s": left["stale"],
        "no job left after, s": left["available"],
        "jobs a second, in the first, second and last third": thirds,
        "jobs a second, in a small queue before": f"{found['small_rate']:,}",
        "pages that a claim of 100 jobs reads: at the start, at most, near the end": pages,
        "claim index, MiB, at the same times": sizes,
        "most dead rows": f"{found['peak_dead_rows']:,}",
        "most memory of a worker, MiB": found["worker_peak_mib"],
        "statements that timed out": found["timeouts"]["statement"],
        "waits for a lock that timed out": found["timeouts"]["lock"],
        "waits for a lock of more than a second": found["lock_waits_over_1s"],
        "jobs that did not complete": max(0, found["not_completed"]),
    }
    return [
        f"{machine()}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
    ]


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks herd", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000, help="available jobs")
    parser.add_argument("--workers", type=int, default=4, help="worker processes")
    parser.add_argument("--small", type=int, default=20_000, help="jobs of the small queue")
    parser.add_argument("--every", type=float, default=5, help="seconds between two looks")
    parser.add_argument("--seconds", type=float, default=1800, help="longest drain")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    chosen = parser.parse_args(words)
    with (
        tempfile.TemporaryDirectory(prefix="awa-herd-") as folder,
        private_server(log_lock_waits="on") as server,
        ExitStack() as stack,
    ):
        print(json.dumps({"machine": facts(server), "command": " ".join(words)}), flush=True)
        url = fresh(server, "herd")
        with awa.Client(url) as client:
            client.migrate()
        conn = stack.enter_context(psycopg.connect(url, autocommit=True))
        rate = small(url, conn, Path(folder), chosen.workers, chosen.small)
        print(json.dumps({"small": round(rate)}), flush=True)
        conn.execute("TRUNCATE awa.jobs_hot, awa.scheduled_jobs")
        conn.execute("UPDATE awa.cron_jobs SET last_enqueued_at = now() - interval '1 h'")
        parts = {AVAILABLE: 1.0, DUE: 0.2, STALE: 0.05, TIMED_OUT: 0.005}
        for statement, part in parts.items():
            conn.execute(statement, {"queue": QUEUE, "count": round(chosen.jobs * part)})
        conn.execute("VACUUM ANALYZE awa.jobs_hot, awa.scheduled_jobs")
        conn.execute("CHECKPOINT")
        log = (server.data_dir / "server.log").stat().st_size
        began = time.monotonic()
        workers = start(url, Path(folder), chosen.workers, stack)
        while not (first := look(conn)["completed"]):
            time.sleep(0.1)
        first_at = time.monotonic() - began
        seen = drain(conn, workers, began, chosen.every, chosen.seconds)
        told = (server.data_dir / "server.log").read_bytes()[log:].decode()
        done = {
            key: next((s["t"] for s in seen if not s[key]), None)
            for key in ("stale", "due", "timed_out", "available")
        }
        expected = round(chosen.jobs * 1.25)
        summary = {
            "jobs": chosen.jobs, "workers": chosen.workers, "small_rate": round(rate),
            "first_job_seconds": round(first_at, 2), "none_left_after": done,
            "rates": rates(seen), "seconds": seen[-1]["t"],
            "rate": round((seen[-1]["completed"] - first) / (seen[-1]["t"] - first_at)),
            "claims": claims_of(seen),
            "peak_dead_rows": max(s["dead"] for s in seen),
            "worker_peak_mib": max(peak_mib(one.pid) for one in workers),
            "timeouts": {
                what: told.count(f"due to {what} timeout") for what in ("statement", "lock")
            },
            "lock_waits_over_1s": told.count("still waiting for"),
            "not_completed": expected - seen[-1]["completed"],
            "missed_fires": conn.execute(
                "SELECT count(*) FROM awa.jobs_hot WHERE kind = 'tick'").fetchone()[0],
        }  # fmt: skip
        print(json.dumps({"summary": summary}), flush=True)
        print("\n".join(section(summary)))
        if chosen.write:
            write("herd", section(summary))
    return 0 if not summary["timeouts"]["statement"] and summary["not_completed"] <= 0 else 1
