"""The results of a report: JSON lines in a file, and what is read from them."""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

US = "awa"


class Log:
    """Adds each line at once, so that a run which breaks keeps what it has."""

    def __init__(self, path: str | None, *, echo: bool = False) -> None:
        self._path, self._echo = path, echo
        self._file: IO[str] | None = None
        self.lines: list[dict] = []

    def __enter__(self) -> Self:
        self._file = open(self._path, "a") if self._path else None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, line: dict) -> None:
        self.lines.append(line)
        text = json.dumps(line)
        if self._echo:
            print(text, flush=True)
        if self._file:
            print(text, file=self._file, flush=True)


@dataclass(frozen=True)
class Spread:
    """A figure of several repetitions."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


class Results:
    """Figures by case and queue, and by curve and point."""

    def __init__(self, lines: Iterable[dict]) -> None:
        self.heads: list[dict] = []
        self._runs: dict[tuple[str, str], list[dict]] = defaultdict(list)
        self._points: dict[str, dict[object, list[dict]]] = defaultdict(lambda: defaultdict(list))
        for line in lines:
            if "machine" in line:
                self.heads.append(line)
            elif "curve" in line:
                self._points[line["curve"]][line["point"]].append(line)
            else:
                self._runs[line["case"], line["who"]].append(line)

    @staticmethod
    def lines(path: str | Path) -> list[dict]:
        """Read a file; a last line that a broken run left half-written is no line."""
        found = []
        for text in Path(path).read_text().splitlines():
            try:
                found.append(json.loads(text))
            except ValueError:
                continue
        return found

    def cases(self) -> list[str]:
        return list(dict.fromkeys(case for case, _ in self._runs))

    def whos(self, case: str) -> list[str]:
        return [who for one, who in self._runs if one == case]

    def spread(self, case: str, who: str, figure: str) -> Spread | None:
        """Return a figure of a queue, None if no run of it has succeeded."""
        return _spread(self._runs.get((case, who), []), figure)

    def error(self, case: str, who: str) -> str | None:
        """Return why the last failed run has failed."""
        errors = [run["error"] for run in self._runs.get((case, who), []) if "error" in run]
        return errors[-1] if errors else None

    def best_peer(self, case: str, figure: str, others: Iterable[str], *, more: bool) -> str | None:
        """Return the best other queue by its median."""
        found = {
            who: spread.median
            for who in others
            if who != US and (spread := self.spread(case, who, figure))
        }
        return (max if more else min)(found, key=found.__getitem__) if found else None

    def ratio(self, case: str, who: str, other: str, figure: str, *, more: bool) -> float | None:
        """Return how many times better one is than the other, by their medians."""
        one, two = self.spread(case, who, figure), self.spread(case, other, figure)
        if one is None or two is None:
            return None
        good, bad = (one.median, two.median) if more else (two.median, one.median)
        return good / bad if bad else None

    def curves(self) -> list[str]:
        return list(self._points)

    def points(self, curve: str) -> list[object]:
        """Return the points of a curve, numbers in their order."""
        found = list(self._points.get(curve, {}))
        numbers = sorted(point for point in found if isinstance(point, int))
        return [*numbers, *(point for point in found if not isinstance(point, int))]

    def at(self, curve: str, point: object, figure: str) -> Spread | None:
        return _spread(self._points[curve][point], figure)

    def last(self, curve: str, point: object) -> dict:
        """Return the last run of a point, with what is no number."""
        return self._points[curve][point][-1]


def _spread(runs: list[dict], figure: str) -> Spread | None:
    values = [run[figure] for run in runs if isinstance(run.get(figure), int | float)]
    return Spread.of(values) if values else None


def command_of(name: str, words: list[str]) -> str:
    """Return the command for the page, without the file of its results: a place of this machine."""
    kept = list(words)
    if "--results" in kept:
        at = kept.index("--results")
        del kept[at : at + 2]
    kept = [word for word in kept if not word.startswith("--results=")]
    return " ".join([f"python -m benchmarks {name}", *kept])
