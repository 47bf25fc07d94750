"""The plots of the report: SVG files that are the same for the same results."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from benchmarks.cases import CASES
from benchmarks.growth import CURVES
from benchmarks.peers import BARE
from benchmarks.results import US, Results, Spread
from benchmarks.words import label

OURS, BARE_COLOUR, OTHERS = "#2f6fde", "#9aa5b1", "#d9a441"
COLOURS = (OURS, "#c0504d")
# Text stays text, and ids do not change with the time.
SETTINGS = {
    "svg.hashsalt": "awa", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "figure.facecolor": "white",
}  # fmt: skip
WITHOUT_DATE = {"Date": None, "Creator": None}


def colour(who: str) -> str:
    return OURS if who == US else BARE_COLOUR if who in BARE else OTHERS


def around(spreads: list[Spread]) -> tuple[list[float], list[float]]:
    """Return how far each spread reaches below and above its median."""
    return (
        [spread.median - spread.least for spread in spreads],
        [spread.most - spread.median for spread in spreads],
    )


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata=WITHOUT_DATE, bbox_inches="tight")
    plt.close(figure)
    # Lines of an SVG file end in blanks.
    lines = [line.rstrip() for line in path.read_text().splitlines()]
    path.write_text("\n".join(lines) + "\n")


def bars(results: Results, name: str, path: Path) -> bool:
    """Draw a bar for each queue; return whether there is one."""
    case = CASES[name]
    found = {
        who: spread
        for who in results.whos(name)
        if (spread := results.spread(name, who, case.figure))
    }
    if not found:
        return False
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(figsize=(7, 0.4 + 0.36 * len(found)))
        spreads = list(found.values())
        axes.barh(
            list(found), [spread.median for spread in spreads], xerr=around(spreads),
            color=[colour(who) for who in found], ecolor="#333333", capsize=2, height=0.6,
        )  # fmt: skip
        axes.invert_yaxis()
        axes.set_xlabel(case.unit)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.9g}")
        _save(figure, path)
    return True


def curve(results: Results, name: str, path: Path) -> bool:
    """Draw the first figures of a curve; return whether there is a point."""
    one, points = CURVES[name], results.points(name)
    numbers = all(isinstance(point, int) for point in points)
    with mpl.rc_context(SETTINGS):
        figure, axes = plt.subplots(figsize=(7, 2.6))
        drawn = 0
        for key, shade in zip(one.figures[: one.plotted], COLOURS, strict=False):
            found = [
                (point, spread) for point in points if (spread := results.at(name, point, key))
            ]
            drawn += len(found)
            axes.errorbar(
                [point for point, _ in found], [spread.median for _, spread in found],
                yerr=around([spread for _, spread in found]), color=shade, marker="o", capsize=2,
                linestyle="-" if numbers else "none", label=label(key),
            )  # fmt: skip
        if drawn:
            if numbers:
                axes.set_xscale("log" if min(points) > 0 else "linear")
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.9g}")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.9g}")
            axes.set_ylim(bottom=0)
            axes.set_xlabel(one.axis)
            axes.legend(frameon=False)
            _save(figure, path)
        plt.close(figure)
    return bool(drawn)
