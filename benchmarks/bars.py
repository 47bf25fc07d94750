"""The bars: what awa must reach, and whether a run reaches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.cases import ADVERSE, CASES, MAIN, STATEMENTS
from benchmarks.peers import BARE, PEERS
from benchmarks.results import US, Results
from benchmarks.words import table

MILLION = 1_000_000


@dataclass(frozen=True)
class Found:
    """What was measured for a bar."""

    text: str
    value: float
    bar: float
    at_least: bool

    @property
    def met(self) -> bool:
        return self.value >= self.bar if self.at_least else self.value <= self.bar

    @property
    def verdict(self) -> str:
        if self.met:
            return "met"
        part = 1 - self.value / self.bar if self.at_least else self.value / self.bar - 1
        return f"missed by {100 * part:.0f} %"


@dataclass(frozen=True)
class Bar:
    what: str
    bar: str
    find: Callable[[Results], Found | None]
    """None when it was not measured."""


def times_peer(case: str, times: float, peer: str | None = None) -> Bar:
    """At least so many times a queue, or the best other queue of the run."""
    one = MAIN[case]

    def find(results: Results) -> Found | None:
        other = peer or results.best_peer(case, one.figure, PEERS, more=one.more)
        ratio = other and results.ratio(case, US, other, one.figure, more=one.more)
        if not ratio:
            return None
        return Found(f"{ratio:.2f} × {other}", ratio, times, at_least=True)

    return Bar(one.title, f"at least {times} × {peer or 'the best peer'}", find)


def part_of(what: str, case: str, percent: int, of: tuple[str, str]) -> Bar:
    """At least so many percent of another rate, of the case and the program ``of``."""

    def find(results: Results) -> Found | None:
        figure = CASES[case].figure
        ours, other = results.spread(case, US, figure), results.spread(*of, figure)
        if ours is None or other is None or not other.median:
            return None
        part = 100 * ours.median / other.median
        return Found(f"{part:.0f} %", part, percent, at_least=True)

    name = of[1] if of[1] in BARE else MAIN[of[0]].title.lower()
    return Bar(what, f"at least {percent} % of: {name}", find)


def at_most(what: str, case: str, figure: str, most: float, unit: str) -> Bar:
    def find(results: Results) -> Found | None:
        spread = results.spread(case, US, figure)
        return spread and Found(f"{spread.median:.3g} {unit}", spread.median, most, at_least=False)

    return Bar(what, f"at most {most:g} {unit}", find)


def flat(what: str, figure: str, times: float) -> Bar:
    """At the end of a flow under an old snapshot at most so many times the beginning."""

    def find(results: Results) -> Found | None:
        first = results.spread("pinned", US, f"first_{figure}")
        last = results.spread("pinned", US, f"last_{figure}")
        if first is None or last is None or not first.median:
            return None
        grown = last.median / first.median
        return Found(f"{grown:.2f} ×", grown, times, at_least=False)

    return Bar(
        f"Under an old snapshot, {what}", f"at the end at most {times:g} × the beginning", find
    )


def grown(
    what: str, curve: str, point: Callable[[object], bool], figure: str, most: float, unit: str
) -> Bar:
    """At most so much at the worst of the points."""

    def find(results: Results) -> Found | None:
        found = [
            (spread.median, one)
            for one in results.points(curve)
            if point(one) and (spread := results.at(curve, one, figure))
        ]
        if not found:
            return None
        worst, at = max(found, key=lambda pair: pair[0])
        where = f"{at:,}" if isinstance(at, int) else at
        return Found(f"{worst:.4g} {unit} ({where})", worst, most, at_least=False)

    return Bar(what, f"at most {most:g} {unit}", find)


def rate_of_due(point: object) -> bool:
    return str(point).endswith("a second")


def is_million(point: object) -> bool:
    return isinstance(point, int) and point >= MILLION


def any_point(point: object) -> bool:
    return True


BARS = (
    times_peer("single", 1.0, "pgqueuer"),
    times_peer("single-sync", 1.0, "pgqueuer"),
    times_peer("callers", 5.0, "pgqueuer"),
    times_peer("bulk", 2.5),
    times_peer("drain", 2.3, "pgqueuer"),
    part_of(MAIN["drain"].title, "drain", 75, ("drain", STATEMENTS)),
    times_peer("waiting-handlers", 1.5),
    times_peer("blocking-handlers", 1.8),
    at_most("200 idle queues", "idle", "transactions_per_second", 10, "transactions/s"),
    at_most("200 idle queues, worker and server", "idle", "percent", 1.5, "% of a core"),
    part_of(f"A drain of {ADVERSE['many-queues'].title}", "many-queues", 85, ("drain", US)),
    flat("p50", "p50_ms", 2.0),
    flat("p99", "p99_ms", 2.0),
    flat("server CPU", "server_cpu", 1.5),
    grown("Worker with a million waiting", "waiting", is_million, "worker_rss_mib", 60, "MiB"),
    grown("2,000 jobs due a second, p99", "scheduled", rate_of_due, "p99_ms", 500, "ms"),
    grown("The slowest page or list", "pages", any_point, "slowest_ms", 300, "ms"),
)


def judged(results: Results) -> list[str]:
    """Return the table of the bars."""
    rows = []
    for bar in BARS:
        found = bar.find(results)
        rows.append(
            [bar.what, bar.bar, *((found.text, found.verdict) if found else ("", "not measured"))]
        )
    return table(["what", "bar", "measured", ""], rows)
