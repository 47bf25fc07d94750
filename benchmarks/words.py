"""What the figures are called, and how their numbers are written."""

from __future__ import annotations

from benchmarks.results import Spread

LABELS = {
    "jobs_per_second": "jobs/s",
    "wal_bytes": "WAL, bytes",
    "commits": "commits",
    "worker_cpu_us": "CPU of the client, µs",
    "server_cpu_us": "CPU of the server, µs",
    "worker_rss_mib": "RSS of the worker, MiB",
    "enqueued_per_second": "inserted/s",
    "transactions_per_second": "transactions/s",
    "percent": "both, % of a core",
    "worker_percent": "worker, % of a core",
    "server_percent": "server, % of a core",
    "first_server_cpu": "server, cores, at the beginning",
    "last_server_cpu": "server, cores, at the end",
    "claim_ms": "a claim of 200, ms",
    "slowest_ms": "slowest, ms",
    "seconds": "until the last, s",
}


def label(figure: str) -> str:
    if figure in LABELS:
        return LABELS[figure]
    for end, unit in (("_ms", ", ms"),):
        if figure.endswith(end):
            words = figure.removesuffix(end).split("_")
            place = {"first": "at the beginning", "last": "at the end"}.get(words[0])
            return f"{words[-1]}{unit}" + (f", {place}" if place else "")
    return figure.replace("_", " ")


def number(value: float) -> str:
    """Write a number with three digits, or as a whole one."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def reach(spread: Spread) -> str:
    return f"{number(spread.least)} – {number(spread.most)}"


def cell(text: str) -> str:
    """Return a text that a cell of a table can hold: the last line, not too long."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or ["no reason"]
    return lines[-1].replace("|", "\\|").replace("<", "&lt;")[:120]


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
