"""Print results: data on stdout, talk on stderr."""

from __future__ import annotations

import json
import sys
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from awa_cli.options import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.columns import Column
    from awa_cli.options import Common

__all__ = [
    "ReaderLeft",
    "age",
    "clean",
    "encode",
    "fit",
    "result",
    "say",
    "show_document",
    "show_rows",
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


def say(text: str) -> None:
    """Tell the person at the terminal something, on stderr."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderLeft from None
    sys.stderr.write(text + "\n")


def encode(value: Any) -> Any:
    """Turn a read model into plain JSON data: fields in order, times as RFC 3339 in UTC."""
    if isinstance(value, datetime):
        return _rfc3339(value)
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    return value


def _rfc3339(moment: datetime) -> str:
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    if utc.microsecond == 0:
        return utc.isoformat() + "Z"
    digits = "milliseconds" if utc.microsecond % 1000 == 0 else "microseconds"
    return utc.isoformat(timespec=digits) + "Z"


def show_document(value: Any) -> None:
    """Print one value as JSON, two spaces deep."""
    plain = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    _write(json.dumps(encode(value), indent=2, ensure_ascii=plain) + "\n")


def show_rows(
    rows: Sequence[T],
    columns: Sequence[Column[T]],
    output: Format,
    common: Common,
    *,
    empty: str,
    footer: str = "",
) -> None:
    """Print rows as a table or as JSON; ``empty`` stands for a table without rows."""
    if output is Format.json:
        show_document(list(rows))
    elif not rows:
        result(empty)
    else:
        if sys.stdout.isatty():
            _rich_table(rows, columns, common)
        else:
            _plain_table(rows, columns)
        if footer:
            say(f"\n{footer}")


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


def _rich_table(rows: Sequence[T], columns: Sequence[Column[T]], common: Common) -> None:
    # rich costs about 45 ms, so it is loaded for terminals only.
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = common.color()
    console = Console(no_color=not colors, color_system="auto" if colors else None, highlight=False)
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
    console.print(table)


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


def age(moment: datetime | None, now: datetime | None = None) -> str | None:
    """Write a moment as people say it: ``3m ago``, ``in 2h``."""
    if moment is None:
        return None
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
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
