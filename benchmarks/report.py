"""The report: ``python -m benchmarks report --reps 3 --results results.jsonl --write``.

Runs awa, the other queues and the bare statements of awa in turns on one server, then how awa
grows.  Each run is a line in the file of --results at once; --from makes the page of such files.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks import growth
from benchmarks.bars import judged
from benchmarks.cases import ADVERSE, CASES, FEW, LASTING, MAIN
from benchmarks.growth import CURVES
from benchmarks.measures import WINDOW, Sizes, play
from benchmarks.peers import BARE, PEERS, Peer
from benchmarks.results import US, Log, Results, command_of
from benchmarks.server import facts, fresh, private_server

# The tables of --only: each stands for its cases or curves, which may also be named.
TABLES = {
    "main": tuple(MAIN), "adverse": tuple(ADVERSE), "lasting": tuple(LASTING),
    "growth": tuple(CURVES),
}  # fmt: skip
# With --short the others would take more than a quarter of an hour.
SHORT_PEERS = (US, "pgqueuer", "chancy")
# What its setup takes longer than others, in seconds.
SLOW_SETUP = {"awa-pg-0.6": 9.0}


def sizes_of(*, short: bool, jobs: int | None) -> Sizes:
    """Return the sizes of a report; all others follow the jobs of a drain."""
    jobs = jobs or (20_000 if short else 100_000)
    return Sizes(
        drain_jobs=jobs, handler_jobs=max(jobs // 4, 1), bulk_jobs=jobs,
        single_jobs=max(jobs // 40, 1), callers_jobs=max(jobs // 5, 1),
        paced_jobs=max(min(jobs // 150, 300), 1),
        steady_seconds=6.0 if short else 12.0,
        flow_seconds=WINDOW * 2 + 10 if short else 600.0,
        idle_seconds=15.0 if short else 30.0,
    )  # fmt: skip


def programs(name: str, peers: list[str], *, short: bool) -> Iterator[Peer]:
    """Yield what takes turns in a case: us, the others, and the bare statements."""
    case = CASES[name]
    if short and name not in MAIN:
        peers = [peer for peer in peers if peer in (FEW if name in ADVERSE else (US,))]
    for peer in [PEERS[name] for name in peers] + [BARE[name] for name in case.bare]:
        if case.peers is None or peer.name in case.peers:
            yield replace(peer, environment={**peer.environment, **case.environment})


def run(name: str, peer: Peer, server, sizes: Sizes, rep: int) -> dict:
    """Return the line of one run; what fails is a note in it."""
    line = {"case": name, "who": peer.name, "rep": rep, "load": round(os.getloadavg()[0], 2)}
    try:
        url = fresh(server, "bench")
        play(peer, url, "setup")
        found = CASES[name].measure(peer, url, sizes)
    except Exception as error:
        found = {"error": str(error)[-800:]}
    return {**line, "at": round(time.time()), **found}


def turns(chosen: argparse.Namespace) -> Iterator[tuple[str, int, Peer]]:
    """Yield the runs in their order: the case, the repetition and who it is measured of."""
    for name in named(chosen.only, CASES):
        for rep in range(min(chosen.reps, CASES[name].reps or chosen.reps)):
            for peer in programs(name, chosen.peers, short=chosen.short):
                yield name, rep, peer


def estimate(chosen: argparse.Namespace, sizes: Sizes) -> float:
    """Return about how many seconds the cases take."""
    return sum(
        CASES[name].seconds(sizes) + SLOW_SETUP.get(peer.name, 0.0)
        for name, _, peer in turns(chosen)
    )


def arguments(words: list[str]) -> argparse.Namespace:
    known = {*TABLES, *CASES, *CURVES}
    parser = argparse.ArgumentParser(prog="python -m benchmarks report", description=__doc__)
    parser.add_argument("--reps", type=int, help="repetitions: 3, or 1 with --short")
    parser.add_argument("--short", action="store_true", help="a quarter of an hour")
    parser.add_argument("--peers", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--only", default=",".join(TABLES), help=f"of {', '.join(sorted(known))}")
    parser.add_argument("--jobs", type=int, help="jobs of a drain; other numbers follow it")
    parser.add_argument("--results", help="add the lines to this file")
    parser.add_argument(
        "--from", dest="sources", action="append", metavar="FILE",
        help="measure nothing: make the page of this file; may be repeated",
    )  # fmt: skip
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args(words)
    chosen.reps = chosen.reps or (1 if chosen.short else 3)
    chosen.peers = (chosen.peers or ",".join(SHORT_PEERS if chosen.short else PEERS)).split(",")
    chosen.only = chosen.only.split(",")
    for what, given, there in (("peer", chosen.peers, PEERS), ("table", chosen.only, known)):
        if unknown := set(given) - set(there):
            parser.error(f"unknown {what} {min(unknown)!r}; there are {', '.join(sorted(there))}")
    return chosen


def named(only: list[str], known: dict) -> list[str]:
    """Return the known names, with those of the tables."""
    names = dict.fromkeys(one for name in only for one in TABLES.get(name, (name,)))
    return [name for name in names if name in known]


def main(words: list[str]) -> int:
    chosen = arguments(words)
    if chosen.write:
        # Before anything is measured: without the library that draws there is no page.
        from benchmarks import page
    if chosen.sources:
        lines = [line for source in chosen.sources for line in Results.lines(source)]
    else:
        lines = measured(chosen, words)
    results = Results(lines)
    print("\n".join(judged(results)))
    if chosen.write:
        print(page.write(results), file=sys.stderr)
    return 0


def measured(chosen: argparse.Namespace, words: list[str]) -> list[dict]:
    """Measure what was asked for; return the lines."""
    curves, size = named(chosen.only, CURVES), growth.Size(short=chosen.short)
    sizes = sizes_of(short=chosen.short, jobs=chosen.jobs)
    seconds = estimate(chosen, sizes) + growth.estimate(curves, size, 1)
    print(f"about {math.ceil(seconds / 60)} min", file=sys.stderr)
    for peer in chosen.peers:
        PEERS[peer].install()
    with private_server() as server, Log(chosen.results, echo=True) as log:
        command = command_of("report", words)
        log.add({"machine": facts(server), "command": command, "at": round(time.time())})
        for name, rep, peer in turns(chosen):
            log.add(run(name, peer, server, sizes, rep))
        growth.measure(server, curves, size, 1, log)
    return log.lines
