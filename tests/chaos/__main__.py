"""``python -m tests.chaos``: play faults under load for some minutes, and write down what happened.

Each fault is played alone first, then two at a time.  The run ends with status 1 if a job was lost
or anything else was wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from faults import ALL, PAIRS, Fault  # noqa: E402 - found in the folders above
from rounds import finish, play, running  # noqa: E402


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--rate", type=int, default=2_000, help="jobs inserted a second")
    parser.add_argument("--results", type=Path, help="append the figures of this run, as JSON")
    parser.add_argument("--only", help="play only faults whose name contains this")
    options = parser.parse_args()
    until = time.monotonic() + options.minutes * 60
    print(f"seed {options.seed}", flush=True)
    with running(options.seed, options.rate, direct=2) as fleet:
        fleet.settled(30)
        rng, played, seconds = random.Random(options.seed), 0, {}
        chosen = [f for f in ALL if options.only is None or options.only in f.__name__]
        for faults in _rounds(chosen, rng):
            if time.monotonic() > until:
                break
            known = len(fleet.problems) + len(fleet.judge.problems)
            took = play(fleet, *faults)
            played += len(faults)
            if len(faults) == 1:
                seconds.setdefault(faults[0].__name__, []).append(round(took, 2))
            problems = [*fleet.problems, *fleet.judge.problems]
            print(fleet.notes[-1], f"({fleet.judge.judged} jobs judged)", flush=True)
            if len(problems) > known:
                print("\n".join(problems[-10:]), flush=True)
        problems = finish(fleet)
        result = {
            "seed": options.seed, "minutes": options.minutes, "rate": options.rate,
            "faults": played, "jobs": fleet.judge.judged, "states": dict(fleet.judge.states),
            "fires": len(fleet.judge.together.fires), "seconds": seconds,
            "outages": fleet.outages, "rescued_after": fleet.judge.rescued_after,
            "problems": problems,
        }  # fmt: skip
    if options.results is not None:
        with options.results.open("a") as file:
            file.write(json.dumps(result) + "\n")
    print(f"{played} faults, {result['jobs']} jobs, {len(problems)} problems")
    for name, took in sorted(seconds.items()):
        print(f"  {name}: median {median(took)} s, worst {max(took)} s")
    print("\n".join(problems[:50]))
    return bool(problems)


def _rounds(chosen: list[Fault], rng: random.Random):
    """Yield each fault alone, in random order; then, again and again, pairs and all alone."""
    yield from ([fault] for fault in chosen)
    while True:
        pairs = [(rng.choice(one), rng.choice(other)) for one, other in PAIRS]
        yield from rng.sample([*pairs, *([fault] for fault in chosen)], len(pairs) + len(chosen))


if __name__ == "__main__":
    sys.exit(main())
