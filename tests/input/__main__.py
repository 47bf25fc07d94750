"""Feed every parser for a time and write what came of it into docs/reliability.md.

``python -m tests.input --seconds 60``: a minute each; ``--only TEXT`` feeds the parsers whose name
has the text, and leaves the page as it is.
"""

from __future__ import annotations

import argparse
import faulthandler
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from chaos import report  # noqa: E402 - the path first
from input.long_form import Found, run  # noqa: E402 - as above
from input.parsers import PARSERS  # noqa: E402 - as above

PATIENCE = 300


def main() -> int:
    """Return 1 if a parser has a fault."""
    words = argparse.ArgumentParser(prog="python -m tests.input", description=__doc__)
    words.add_argument("--seconds", type=float, default=60.0, help="for each parser")
    words.add_argument("--only", default="", help="a part of the names of parsers")
    given = words.parse_args()
    results = []
    for name, one in PARSERS.items():
        if given.only in name:
            # One that hangs ends the run and shows where.
            faulthandler.dump_traceback_later(given.seconds + PATIENCE, exit=True)
            results.append(run(one, given.seconds))
            print(*row(results[-1]), *results[-1].faults, sep="\t", flush=True)
    faulthandler.cancel_dump_traceback_later()
    if not given.only:
        report.write("input", lines(results))
    return int(any(found.faults for found in results))


def row(found: Found) -> Sequence[str]:
    return (
        found.name,
        f"{found.examples:,}",
        f"{found.refused:,}",
        str(len(found.faults)),
        f"{found.seconds:.0f}",
        f"{found.slowest:.3f}",
    )


def lines(results: Sequence[Found]) -> Iterator[str]:
    yield f"Measured on {report.machine()}."
    yield ""
    yield "| parser | inputs | refused | faults | seconds | slowest input (s) |"
    yield "|---|--:|--:|--:|--:|--:|"
    for found in results:
        yield f"| {' | '.join(row(found))} |"
    every = sum(found.examples for found in results)
    faults = sum(len(found.faults) for found in results)
    seconds = sum(found.seconds for found in results)
    yield f"| all {len(results)} | {every:,} | {sum(f.refused for f in results):,} | {faults} | {seconds:.0f} | |"


if __name__ == "__main__":
    raise SystemExit(main())
