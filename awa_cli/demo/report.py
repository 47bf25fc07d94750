"""The table at the end of the demo, and commands to try next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from awa_cli.demo.tables import Found

__all__ = ["print_report"]

# Columns from which the table of languages includes their sizes.
_WIDE: Final = 96


def print_report(console: Console, found: Found, root: str, elapsed: float, option: str) -> None:
    """Print the results, as read from the database."""
    from rich.columns import Columns

    wide = console.width >= _WIDE
    console.print(Columns([_facts(found, elapsed), _languages(found, wide=wide)], padding=(0, 3)))
    console.print(f"[dim]tree: {root}[/]", soft_wrap=True, highlight=False)
    console.print("\n[bold]next[/]", highlight=False)
    named = f"awa {option}"
    for command, why in (
        (f"{named} queue stats", "show the two queues"),
        (f"{named} job list --state failed", "list failed jobs"),
        (f"{named} job dump ID", "print everything about one job"),
        ("awa dev up", "keep this PostgreSQL server running"),
    ):
        console.print(f"  {command}  [dim]# {why}[/]", soft_wrap=True, highlight=False)


def size(count: int) -> str:
    """Format a number of bytes.

    >>> size(999), size(249_420_252)
    ('999 B', '249.4 MB')
    """
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:  # noqa: PLR2004 - decimal units
            break
        value, unit = value / 1000, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def _facts(found: Found, elapsed: float) -> RenderableType:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(no_wrap=True)
    for name, value in _rows(found, elapsed):
        table.add_row(name, value)
    return table


def _rows(found: Found, elapsed: float) -> Iterator[tuple[str, str]]:
    files, jobs = found.files, found.jobs
    yield "files", f"{files.files:,}"
    yield "lines", f"{files.lines:,}"
    yield "bytes", f"{size(files.bytes)} ({files.bytes:,})"
    if found.largest:
        name = str(found.largest["path"]).rsplit("/", 1)[-1]
        yield "largest", f"{name[:18]} ({size(found.largest['bytes'])})"
    yield "duplicates", f"{found.duplicates['extra']:,} in {found.duplicates['groups']:,} groups"
    if files.unreadable:
        yield "unreadable", f"[red]{files.unreadable:,}[/]"
    yield "jobs run", f"{jobs.completed:,} completed, {jobs.failed:,} failed"
    yield "retried", f"{jobs.retried:,}"
    yield "rescued", f"{jobs.rescued:,} from the dead worker"
    if found.survey:
        yield "long job", f"continued at {found.survey['resumed_at_percent']}%"
    if found.announce:
        yield "scheduled", f"started {found.announce['late_seconds']:.2f} s late"
    yield "took", f"{elapsed:.1f} s"


def _languages(found: Found, *, wide: bool) -> RenderableType:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("language", no_wrap=True)
    for name in ("files", "lines", "size") if wide else ("files", "lines"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in found.languages:
        cells = [row.language[:15], f"{row.files:,}", f"{row.lines:,}", size(row.bytes)]
        table.add_row(*cells[: len(table.columns)])
    return table
