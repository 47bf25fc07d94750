"""Print results: data on stdout, talk on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from awa_cli.options import common
from awa_cli.shapes import Format, Shape, encode, field_of, write_data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console
    from rich.table import Table

    from awa_cli.columns import Column
    from awa_cli.options import Common

__all__ = [
    "ReaderLeft",
    "age",
    "clean",
    "counted",
    "fit",
    "now",
    "result",
    "say",
    "show_document",
    "show_live",
    "show_one",
    "show_rows",
    "show_text",
    "span",
]

T = TypeVar("T")

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


class ReaderLeft(Exception):
    """Nobody reads stdout any more, as after ``| head``."""


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise ReaderLeft from None


def result(text: str) -> None:
    """Print what a command did, as published scripts expect it: one sentence on stdout."""
    _write(text + "\n")


def show_text(text: str) -> None:
    """Print a page; through a pager where it is longer than the terminal."""
    if sys.stdout.isatty() and text.count("\n") >= shutil.get_terminal_size().lines:
        import pydoc

        os.environ.setdefault("LESS", "FRX")
        pydoc.pager(text)
    else:
        _write(text)


def say(text: str) -> None:
    """Tell the person at the terminal something, on stderr; nothing with --quiet."""
    from typer._click.globals import get_current_context

    ctx = get_current_context(silent=True)
    if ctx is not None and common(ctx).quiet:  # type: ignore[arg-type] # typer has its own class
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderLeft from None
    sys.stderr.write(text + "\n")


def show_document(value: Any) -> None:
    """Print one value as JSON, two spaces deep."""
    _write(json.dumps(encode(value), indent=2, ensure_ascii=_ascii_only()) + "\n")


def show_one(row: Any, sentence: str, shape: Shape, options: Common) -> None:
    """Print what was made: a sentence for people, else the row; JSON without a list around it."""
    if shape.for_people:
        result(sentence)
    elif shape.format is Format.json:
        show_document(row)
    else:
        show_rows([row], (), shape, options, empty="")


def _ascii_only() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"


def show_rows(
    rows: Iterable[T],
    columns: Sequence[Column[T]],
    shape: Shape,
    options: Common,
    *,
    empty: str,
    footer: Callable[[Sequence[T]], str] | None = None,
    chosen: Sequence[str] = (),
) -> int:
    """Print rows as a table or as data, and return how many there were.

    ``empty`` stands for a table without rows.  ``chosen`` fields take the place of the columns.
    """
    if not shape.for_people:
        return write_data(rows, shape, chosen, _write, ascii_only=_ascii_only())
    rows = list(rows)
    if not rows:
        result(empty)
        return 0
    if chosen:
        columns = [_field_column(name) for name in chosen]
    else:
        wide = shape.format is Format.wide
        columns = [column for column in columns if wide or not column.wide]
    if sys.stdout.isatty() and shape.format is not Format.wide:
        console = _console(options)
        console.print(_rich_table(rows, columns, console))
    else:
        _plain_table(rows, columns)
    if footer:
        say(f"\n{footer(rows)}")
    return len(rows)


def _field_column(name: str) -> Column[Any]:
    from awa_cli.columns import Column

    def get(row: Any) -> Any:
        value = field_of(encode(row), name)
        return value if value is None or isinstance(value, str) else json.dumps(value)

    return Column(name.upper(), get, width=8)


def _plain_table(rows: Sequence[T], columns: Sequence[Column[T]]) -> None:
    cells = [[column.title for column in columns]]
    cells += [[clean(column.get(row)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        parts = [
            f"{text:>{width}}" if column.right else f"{text:<{width}}"
            for text, width, column in zip(line, widths, columns, strict=True)
        ]
        _write("  ".join(parts).rstrip() + "\n")


def show_live(
    read: Callable[[], Sequence[T]],
    columns: Sequence[Column[T]],
    shape: Shape,
    options: Common,
    seconds: float,
    *,
    chosen: Sequence[str] = (),
) -> NoReturn:
    """Print rows again and again until Ctrl-C: in place at a terminal, else one after another."""
    from awa_cli.feed import watch

    if not (shape.for_people and sys.stdout.isatty()):
        for rows in watch(read, seconds):
            show_rows(rows, columns, shape, options, empty="Nothing yet.", chosen=chosen)
            sys.stdout.flush()
    from rich.live import Live
    from rich.text import Text

    shown = [_field_column(name) for name in chosen] or [
        column for column in columns if shape.format is Format.wide or not column.wide
    ]
    console = _console(options)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for rows in watch(read, seconds):
            table = _rich_table(rows, shown, console)
            table.caption = Text(
                f"{datetime.now().astimezone():%H:%M:%S}, every {span(seconds)}; Ctrl-C ends",
                style="bright_black",
            )
            table.caption_justify = "left"
            live.update(table, refresh=True)
    raise AssertionError


def _console(options: Common) -> Console:
    from rich.console import Console

    colors = options.color()
    return Console(no_color=not colors, color_system="auto" if colors else None, highlight=False)


def _rich_table(rows: Sequence[T], columns: Sequence[Column[T]], console: Console) -> Table:
    # rich costs about 45 ms, so it is loaded for terminals only.
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    texts = [[clean(column.get(row)) for row in rows] for column in columns]
    widths = fit(
        [
            max(cell_len(text) for text in [column.title, *cells])
            for column, cells in zip(columns, texts, strict=True)
        ],
        [column.width for column in columns],
        console.width - 2 * (len(columns) - 1),
    )
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=True,
            overflow="ellipsis",
            width=width,
        )
    for number, row in enumerate(rows):
        table.add_row(
            *[
                Text(cells[number], style=column.style(row) if column.style else "")
                for column, cells in zip(columns, texts, strict=True)
            ]
        )
    return table


def fit(wanted: Sequence[int], least: Sequence[int | None], room: int) -> list[int]:
    """Take cells from the widest columns that may shrink, until all fit or none may any more."""
    widths = list(wanted)
    while sum(widths) > room:
        able = [i for i, low in enumerate(least) if low is not None and widths[i] > low]
        if not able:
            break
        widths[max(able, key=widths.__getitem__)] -= 1
    return widths


def clean(value: Any) -> str:
    """Write a cell: nothing as ``-``, control characters visible, so that no name draws screens."""
    if value is None:
        return "-"
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(number: int, thing: str = "job") -> str:
    """Write how many: ``1 job``, ``1,204 jobs``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def now() -> datetime:
    """Return the time by which ages are told."""
    return datetime.now(UTC)


def age(moment: datetime | None) -> str | None:
    """Write a moment as people say it: ``3m ago``, ``in 2h``."""
    if moment is None:
        return None
    seconds = (now() - moment).total_seconds()
    text = span(abs(seconds))
    if text == "0s":
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def span(seconds: float) -> str:
    """Write a duration with its largest unit, and the next one while it matters."""
    whole = int(seconds)
    for index, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            count, rest = divmod(whole, size)
            if count < 10 and index + 1 < len(_UNITS):  # noqa: PLR2004 - one digit leaves room
                small, small_unit = _UNITS[index + 1]
                if rest // small:
                    return f"{count}{unit}{rest // small}{small_unit}"
            return f"{count}{unit}"
    return "0s"
