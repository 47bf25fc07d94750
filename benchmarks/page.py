"""The page of the benchmarks, made of the results alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from benchmarks import plots
from benchmarks.bars import judged
from benchmarks.cases import ADVERSE, LASTING, MAIN, Case
from benchmarks.growth import CURVES
from benchmarks.peers import PEERS
from benchmarks.results import US, Results
from benchmarks.words import cell, label, number, reach, table

DOCS = Path(__file__).resolve().parents[1] / "docs"
PLOTS = Path("images") / "benchmarks"
COSTS = ("wal_bytes", "commits", "worker_cpu_us", "server_cpu_us")
INTRODUCTION = """\
# Benchmarks

awa beside other queues on PostgreSQL, and beside its own statements alone: the bare statements.
All take turns on one server, once in each repetition, and each run has a fresh database.
So a slow phase of the machine meets all of them.
Worker, producer and server share the machine.
A number is the median of the repetitions, with the smallest and the largest beside it.
Compare ratios within this page, not numbers across machines.
The settings of each queue are in `benchmarks/peers.py` and `benchmarks/drivers/`.
"""
COST_WORDS = (
    "WAL, commits and CPU are per job."
    " The client is the worker, or the producer where there is no worker."
)


def write(results: Results, docs: Path = DOCS) -> Path:
    """Write the page with its plots, and give it its place among the pages."""
    page = docs / "benchmarks.md"
    page.write_text("\n".join(lines_of(results, docs)) + "\n")
    index = docs / "index.md"
    if index.exists() and "\nbenchmarks\n" not in (text := index.read_text()):
        index.write_text(text.replace("\nreliability\n", "\nreliability\nbenchmarks\n", 1))
    return page


def lines_of(results: Results, docs: Path) -> list[str]:
    lines = [INTRODUCTION, *stamp(results), "", "## The bars", "", *judged(results)]
    found = set(results.cases())
    if found & set(MAIN):
        lines += ["", "## Side by side", "", COST_WORDS]
        for name in [name for name in MAIN if name in found]:
            lines += section(results, name, MAIN[name], docs)
    if found & set(ADVERSE):
        lines += ["", "## Adverse conditions", "", *conditions(results)]
    for name in [name for name in LASTING if name in found]:
        lines += section(results, name, LASTING[name], docs)
    if results.curves():
        lines += ["", "## Growth"]
        for name in [name for name in CURVES if name in results.curves()]:
            lines += growth(results, name, docs)
    return lines


def stamp(results: Results) -> list[str]:
    """Say where, when and how it was measured."""
    lines = []
    for head in results.heads:
        machine = head["machine"]
        when = datetime.fromtimestamp(head["at"], UTC)
        settings = ", ".join(f"{name} {value}" for name, value in machine["settings"].items())
        measured = (
            f"Measured on {when:%Y-%m-%d} by `{head['command']}`: {machine['cpus']} cores"
            f" ({machine['cpu']}), {machine['memory_gib']} GiB, {machine['system']},"
            f" Python {machine['python']}, PostgreSQL {machine['postgres']} ({settings})."
        )
        lines += [measured, ""]
    used = {who for case in results.cases() for who in results.whos(case)}
    peers = [peer for peer in PEERS.values() if peer.name in used and peer.requirements]
    ours = results.heads[-1]["machine"]["awa"] if results.heads else "?"
    names = [f"awa {ours}", *(f"{peer.name}: {', '.join(peer.requirements)}" for peer in peers)]
    return [*lines, f"Versions: {'; '.join(names)}."]


def section(results: Results, name: str, case: Case, docs: Path) -> list[str]:
    lines = ["", f"### {case.title}", "", case.what, ""]
    if plots.bars(results, name, docs / PLOTS / f"{name}.svg"):
        lines += [f"![{case.title}]({(PLOTS / name).as_posix()}.svg)", ""]
    best = results.best_peer(name, case.figure, PEERS, more=case.more)
    extra = [
        figure
        for figure in (*COSTS, *case.others)
        if any(results.spread(name, who, figure) for who in results.whos(name))
    ]
    head = ["", case.unit, "from – to", "× the best peer", *map(label, extra)]
    return [*lines, *table(head, [_row(results, name, who, case, best, extra)
                                  for who in results.whos(name)])]  # fmt: skip


def _row(
    results: Results, name: str, who: str, case: Case, best: str | None, extra: list[str]
) -> list[str]:
    spread = results.spread(name, who, case.figure)
    shown = f"**{who}**" if who == US else who
    if spread is None:
        return [shown, f"failed: {cell(results.error(name, who) or '')}", *[""] * (2 + len(extra))]
    ratio = best and results.ratio(name, who, best, case.figure, more=case.more)
    figures = [results.spread(name, who, figure) for figure in extra]
    return [
        shown, number(spread.median), reach(spread), f"{ratio:.2f}" if ratio else "",
        *(number(one.median) if one else "" for one in figures),
    ]  # fmt: skip


def conditions(results: Results) -> list[str]:
    """Return jobs per second under each condition, and the part of the plain drain."""
    found = [name for name in ADVERSE if name in results.cases()]
    whos = list(dict.fromkeys(who for name in found for who in results.whos(name)))
    lines = ["Jobs a second, and the part of the plain drain of the same queue.", ""]
    lines += [f"- **{ADVERSE[name].title}**: {ADVERSE[name].what}" for name in found]
    rows = [
        [ADVERSE[name].title, *(_condition(results, name, who) for who in whos)] for name in found
    ]
    return [*lines, "", *table(["", *whos], rows)]


def _condition(results: Results, name: str, who: str) -> str:
    spread = results.spread(name, who, "jobs_per_second")
    if spread is None:
        error = results.error(name, who)
        return f"failed: {cell(error)}" if error else ""
    text = f"{number(spread.median)} ({reach(spread)})"
    plain = results.spread("drain", who, "jobs_per_second")
    return f"{text}, {100 * spread.median / plain.median:.0f} %" if plain else text


def growth(results: Results, name: str, docs: Path) -> list[str]:
    curve = CURVES[name]
    lines = ["", f"### {curve.title}", "", curve.what, ""]
    if plots.curve(results, name, docs / PLOTS / f"growth-{name}.svg"):
        lines += [f"![{curve.title}]({PLOTS.as_posix()}/growth-{name}.svg)", ""]
    rows = []
    for point in results.points(name):
        last = results.last(name, point)
        cells = [
            number(spread.median) if (spread := results.at(name, point, figure))
            else str(last.get(figure, ""))
            for figure in curve.figures
        ]  # fmt: skip
        if "error" in last and not any(cells):
            cells[0] = f"failed: {cell(last['error'])}"
        rows.append([f"{point:,}" if isinstance(point, int) else str(point), *cells])
    lines += table([curve.axis, *map(label, curve.figures)], rows)
    return lines + (each_page(results) if name == "pages" else [])


def each_page(results: Results) -> list[str]:
    """Return each page at the largest number of rows, with the indexes of its statements."""
    points = [point for point in results.points("pages") if "pages" in results.last("pages", point)]
    if not points:
        return []
    seen = results.last("pages", points[-1])["pages"]
    rows = [
        [name, number(one["ms"]), ", ".join(f"`{index}`" for index in one["indexes"])]
        for name, one in seen.items()
    ]
    return ["", f"At {points[-1]:,} rows:", "", *table(["", "ms", "indexes"], rows)]
