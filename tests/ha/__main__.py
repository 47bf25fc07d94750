"""Measure the guide's cluster: each fault some times, under load, and judge the whole run.

``python -m tests.ha --runs 5`` as root; it writes its section of ``docs/reliability.md``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from fix_cluster import missing  # noqa: E402 - found there

SECTION = "high availability"
HEAD = (
    "| fault | runs | seconds without a primary | then until all work again "
    "| most lines of a worker |"
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.ha", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each fault")
    parser.add_argument("--faults", nargs="*", help="only these")
    parser.add_argument("--dry", action="store_true", help="print, and write no page")
    asked = parser.parse_args()
    if (why := missing()) is not None:
        print(f"cannot run: {why}", file=sys.stderr)
        return 1
    from cluster_faults import FAULTS, loaded, play

    with loaded() as load:
        began = time.monotonic()
        wrong = []
        for number in range(asked.runs):
            for name in asked.faults or FAULTS:
                try:
                    result = play(load, name)
                except BaseException as error:
                    wrong.append(f"{number + 1} {name}: {error!r}")
                    break
                print(f"{number + 1} {name}: {result}", flush=True)
        minutes = (time.monotonic() - began) / 60
        wrong += load.judge()
    print("\n".join(wrong[:50]))
    acknowledged = sum(len(producer.acks) for producer in load.producers)
    by_name = defaultdict(list)
    for result in load.results:
        by_name[result.fault].append(result)
    lines = [HEAD, "|---|---|---|---|---|"]
    for name, results in by_name.items():
        away, again = [r.away for r in results], [r.worst for r in results]
        most = max(max(r.lines.values()) for r in results)
        lines.append(
            f"| {name} | {len(results)} | {statistics.median(away):.1f} ({max(away):.1f}) "
            f"| {statistics.median(again):.1f} ({max(again):.1f}) | {most} |"
        )
    summary = (
        f"Of {acknowledged:,} acknowledged jobs in {minutes:.0f} minutes {count(wrong, LOST)} were "
        f"lost, {count(wrong, TWICE)} fires of schedules came twice, {count(wrong, MISSED)} were "
        f"missed, and the judge found {len(wrong)} problems in all."
    )
    lines += ["", summary]
    if asked.dry:
        print("\n".join(lines))
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "chaos"))
        from report import machine, write

        write(
            SECTION,
            [*lines, "", f"Measured: {machine()}, `python -m tests.ha --runs {asked.runs}`."],
        )
    return 1 if wrong else 0


LOST, TWICE, MISSED = "never existed", "was fired as", "no fire for"


def count(wrong: list[str], words: str) -> int:
    return sum(words in problem for problem in wrong)


if __name__ == "__main__":
    raise SystemExit(main())
