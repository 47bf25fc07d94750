"""``python -m tests.chaos``: play faults under load for some minutes, and write down what happened.

Each fault is played alone first, then two at a time.  The run ends with status 1 if a job was lost
or anything else was wrong.  Its figures become a section of docs/reliability.md, together with
those of the runs before it that are in the file of ``--results``.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import report  # noqa: E402 - found in the folders above
from faults import ALL, LONG, PAIRS, Fault  # noqa: E402
from fix_fleet import Fleet  # noqa: E402
from rounds import finish, play, running  # noqa: E402


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--rate", type=int, default=2_000, help="jobs inserted a second")
    parser.add_argument("--results", type=Path, help="a file to which the figures are appended")
    parser.add_argument("--only", default="", help="play only faults whose name contains this")
    options = parser.parse_args()
    # Processes and disks must go also when it is ended early, in the background too.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))
    # Two hundred thousand jobs are open at a time; to look at all of them again and again is slow.
    gc.set_threshold(200_000, 50, 100)
    # The judge computes for long; faults must not wait for its thread.
    sys.setswitchinterval(0.0005)
    print(f"seed {options.seed}", flush=True)
    result, problems = _run(options)
    print(json.dumps(result))
    results = [result]
    if options.results is not None:
        with options.results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        results = [json.loads(line) for line in options.results.read_text().splitlines()]
    if not options.only:
        report.write("chaos", _lines(results))
    print(f"{result['faults']} faults, {result['jobs']} jobs, {len(problems)} problems")
    print("\n".join(problems[:50]))
    return bool(problems)


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Return the figures of a run, and its problems."""
    began = time.monotonic()
    rng, played, seconds = random.Random(options.seed), 0, {}
    chosen = [fault for fault in ALL if options.only in fault.__name__]
    with running(options.seed, options.rate, direct=2) as fleet:
        fleet.settled(30)
        with fleet.admin() as conn:
            version = conn.info.parameter_status("server_version")
        until = time.monotonic() + options.minutes * 60
        # With --only nothing else may hide what one fault does.
        rounds = [[f] for f in chosen] if options.only else _rounds(chosen, rng)
        for faults in rounds:
            if time.monotonic() > until:
                break
            known = len(fleet.problems) + len(fleet.judge.problems)
            took = play(fleet, *faults)
            played += len(faults)
            if len(faults) == 1:
                seconds.setdefault(faults[0].__name__, []).append(round(took, 2))
            _say(fleet, known)
        problems = finish(fleet)
        with fleet.admin() as conn:
            row = conn.execute("SELECT pg_database_size('awa')").fetchone()
        judge = fleet.judge
        result = {
            "machine": f"{report.machine()}, PostgreSQL {version}", "seed": options.seed,
            "command": f"python -m tests.chaos --minutes {options.minutes:g} --rate {options.rate} "
            f"--seed {options.seed}",
            "minutes": round((time.monotonic() - began) / 60, 1), "faults": played,
            "jobs": judge.judged, "states": dict(judge.states), "fires": len(judge.together.fires),
            "seconds": seconds, "away": fleet.outages,
            "rescued_after": _counted(judge.rescued_after),
            "database_mb": (row[0] if row else 0) // 1_000_000,
            "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_000,
            "problems": len(problems),
        }  # fmt: skip
        return result, problems


def _say(fleet: Fleet, known: int) -> None:
    judge = fleet.judge
    print(f"{fleet.notes[-1]} ({judge.judged} jobs judged, {judge.open} open)", flush=True)
    problems = [*fleet.problems, *judge.problems]
    if len(problems) > known:
        print("\n".join(problems[-10:]), flush=True)


def _lines(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the section of the page."""
    seconds: dict[str, list[float]] = {}
    for result in results:
        for name, took in result["seconds"].items():
            seconds.setdefault(name, []).extend(took)
    outages = [outage for result in results for outage in result.get("away", [])]
    yield f"Measured on {results[-1]['machine']}."
    yield ""
    yield "| command | minutes | faults | jobs | problems |"
    yield "|---|---|---|---|---|"
    for result in results:
        yield (
            f"| `{result['command']}` | {result['minutes']} | {result['faults']:,} | "
            f"{result['jobs']:,} | {result['problems']} |"
        )
    yield (
        f"| together | {sum(r['minutes'] for r in results):.1f} | "
        f"{sum(r['faults'] for r in results):,} | {sum(r['jobs'] for r in results):,} | "
        f"{sum(r['problems'] for r in results)} |"
    )
    yield ""
    yield f"Fires of a schedule that fires each second: {sum(r['fires'] for r in results):,}."
    yield (
        f"At most, of a run: {max(r.get('memory_mb', 0) for r in results):,} MB of memory of the "
        f"runner and its judge, {max(r.get('database_mb', 0) for r in results):,} MB of database "
        "at the end."
    )
    if outages:
        yield (
            "Of a worker while the database is away for a minute, without lines about jobs that "
            f"failed, at most: {max(lines for _, lines, _ in outages):.1f} log lines, "
            f"{max(cpu for _, _, cpu in outages):.1%} of a processor."
        )
    for whom in ("worker", "leader"):
        waits = [
            float(seconds)
            for result in results
            for seconds, jobs in result["rescued_after"].get(whom, {}).items()
            for _ in range(jobs)
        ]
        if waits:
            yield (
                f"Seconds from the death of a {whom} to the rescue of a job it ran: median "
                f"{median(waits):.1f}, worst {max(waits):.1f} ({len(waits):,} jobs)."
            )
    yield ""
    whole = [result for result in results if len(result["seconds"]) == len(seconds)]
    last = whole[-1]["seconds"] if whole else {}
    yield "| fault | played alone | seconds until all work, median | worst | worst of the last |"
    yield "|---|---|---|---|---|"
    for name, took in sorted(seconds.items()):
        words = name.replace("_", " ")
        late = f"{max(last[name]):.1f}" if name in last else ""
        yield f"| {words} | {len(took)} | {median(took):.1f} | {max(took):.1f} | {late} |"
    if whole:
        yield ""
        yield f"The last run that played each of them is `{whole[-1]['command']}`."


def _counted(rescued: list[tuple[float, bool]]) -> dict[str, dict[str, int]]:
    """Return how many jobs were rescued after how many seconds, of a worker and of a leader."""
    counts: dict[str, Counter[str]] = {"worker": Counter(), "leader": Counter()}
    for seconds, led in rescued:
        counts["leader" if led else "worker"][f"{seconds:.1f}"] += 1
    return {
        whom: dict(sorted(found.items(), key=lambda one: float(one[0])))
        for whom, found in counts.items()
    }


def _rounds(chosen: list[Fault], rng: random.Random) -> Iterator[list[Fault]]:
    """Yield each fault alone; then, again and again, pairs and most of them alone."""
    yield from ([fault] for fault in chosen)
    while True:
        pairs = [[rng.choice(one), rng.choice(other)] for one, other in PAIRS]
        alone = [[f] for f in chosen if f not in LONG or rng.random() < 1 / len(LONG)]
        yield from rng.sample([*pairs, *alone], len(pairs) + len(alone))


if __name__ == "__main__":
    sys.exit(main())
