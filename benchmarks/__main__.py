"""Measure queues side by side: ``python -m benchmarks drain|enqueue|latency|steady …``.

Prints one JSON document per run, and a summary with medians and ratios.  Peers take turns within
each repetition, so that a slow phase of the machine affects all of them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time

from benchmarks.measures import HEADLINES, MEASURES, Sizes
from benchmarks.peers import PEERS, VARIANTS
from benchmarks.server import facts, fresh, private_server


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("measures", nargs="+", choices=sorted(MEASURES))
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated names")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=20_000, help="number of jobs of a drain")
    parser.add_argument("--flow-seconds", type=float, default=600.0, help="length of a pinned run")
    parser.add_argument(
        "--flow-rate", type=int, default=3_000, help="jobs a second of a pinned run"
    )
    parser.add_argument("--seconds", type=float, default=12.0, help="length of a steady run")
    parser.add_argument("--concurrency", type=int, help="jobs that run at once, for all peers")
    parser.add_argument("--profile", action="store_true", help="profile the worker of awa")
    chosen = parser.parse_args()
    known = PEERS | VARIANTS
    unknown = set(chosen.peers.split(",")) - set(known)
    if unknown:
        parser.error(f"unknown peer {min(unknown)!r}; there are {', '.join(known)}")
    return chosen


def summary(measure: str, runs: dict[str, list[dict]]) -> dict:
    """Return medians with their range, and the ratio of awa to the best other peer."""
    peers = {}
    for name, figures in runs.items():
        good = [f for f in figures if "error" not in f]
        peers[name] = {
            key: {
                "median": round(statistics.median(f[key] for f in good), 3),
                "min": min(f[key] for f in good),
                "max": max(f[key] for f in good),
            }
            for key in (good[0] if good else {})
            if isinstance(good[0][key], int | float)
        }
    key, more = HEADLINES[measure]
    others = {n: p[key]["median"] for n, p in peers.items() if n != "awa" and key in p}
    result = {"measure": measure, "peers": peers}
    if others and key in peers.get("awa", {}):
        best = (max if more else min)(others, key=others.get)
        ours = peers["awa"][key]["median"]
        result["best_other"] = best
        result["ratio"] = round(ours / others[best] if more else others[best] / ours, 2)
        result["ratios"] = {
            n: round(ours / v if more else v / ours, 2) for n, v in sorted(others.items())
        }
    return result


def main() -> None:
    chosen = arguments()
    if chosen.profile:
        os.environ["BENCH_PROFILE"] = "1"
    peers = [(PEERS | VARIANTS)[name] for name in chosen.peers.split(",")]
    for peer in peers:
        peer.install()
    sizes = Sizes(
        drain_jobs=chosen.jobs, steady_seconds=chosen.seconds, concurrency=chosen.concurrency,
        flow_seconds=chosen.flow_seconds, flow_rate=chosen.flow_rate,
    )  # fmt: skip
    with private_server() as server:
        print(json.dumps({"machine": facts(server), "command": " ".join(sys.argv[1:])}))
        for measure in chosen.measures:
            runs: dict[str, list[dict]] = {peer.name: [] for peer in peers}
            for rep in range(chosen.reps):
                for peer in peers:
                    load = round(os.getloadavg()[0], 2)
                    try:
                        url = fresh(server, "bench")
                        play_setup(peer, url)
                        figures = MEASURES[measure](peer, url, sizes)
                    except Exception as error:
                        figures = {"error": str(error)[-800:]}
                    runs[peer.name].append(figures)
                    line = {"measure": measure, "peer": peer.name, "rep": rep, "load": load}
                    print(json.dumps({**line, "at": round(time.time()), **figures}), flush=True)
            print(json.dumps({"summary": summary(measure, runs)}), flush=True)


def play_setup(peer, url: str) -> None:
    from benchmarks.measures import play

    play(peer, url, "setup")


# Runs of another kind, each with options of its own.
LONG = ("soak", "workers", "herd", "report", "growth", "workflows")

if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in LONG:
        run = importlib.import_module(f"benchmarks.{sys.argv[1]}").main
        raise SystemExit(run(sys.argv[2:]))
    main()
