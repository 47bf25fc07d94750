"""Lay out rows as a table, for a width in cells or without a limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_cli.views.widths import cells, cut, fit
from awa_cli.views.words import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.terminal.colors import Paint
    from awa_cli.views.columns import Column

__all__ = ["table_lines"]

T = TypeVar("T")

_GAP: Final = 2
# A column of width 1 takes the remaining cells; it is useless below this many.
_LAST_WIDTH: Final = 8


def table_lines(
    rows: Sequence[T], columns: Sequence[Column[T]], paint: Paint, room: int | None = None
) -> list[str]:
    """Return the heading and a line for each row.

    ``room`` is the width in cells: long values are cut if their column allows it, then columns are
    left out until the rest fits.  The first column always stays.
    """
    texts = [[clean(column.get(row)) for row in rows] for column in columns]
    wanted = [
        max(cells(text) for text in [column.title, *texts[number]])
        for number, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    widths = wanted
    if room is not None:
        kept = _kept(columns, wanted, room)
        widths = fit(
            [wanted[i] for i in kept],
            [columns[i].width for i in kept],
            room - _GAP * (len(kept) - 1),
        )
    shown = [(columns[i], texts[i], width) for i, width in zip(kept, widths, strict=True)]
    titles = [cut(column.title, width) for column, _, width in shown]
    lines = [_line([(title, paint(title, "bold")) for title in titles], shown)]
    for number, row in enumerate(rows):
        parts = []
        for column, mine, width in shown:
            text = cut(mine[number], width)
            painted = paint(text, column.style(row) if column.style else "")
            parts.append((text, paint.link(painted, column.link(row) if column.link else None)))
        lines.append(_line(parts, shown))
    return lines


def _kept(columns: Sequence[Column[Any]], wanted: Sequence[int], room: int) -> list[int]:
    """Leave out columns from the right, first those that may be cut, until the rest fits."""
    least = [
        most
        if column.width is None
        else min(most, _LAST_WIDTH if column.width == 1 else column.width)
        for column, most in zip(columns, wanted, strict=True)
    ]
    kept = list(range(len(columns)))
    while len(kept) > 1 and sum(least[i] + _GAP for i in kept) - _GAP > room:
        rest = kept[1:]
        kept.remove(next((i for i in reversed(rest) if columns[i].width is not None), rest[-1]))
    return kept


def _line(parts: Sequence[tuple[str, str]], shown: Sequence[tuple[Column[Any], Any, int]]) -> str:
    """Join cells, given plain and painted, without trailing blanks."""
    line, owed = "", 0
    for (text, painted), (column, _, width) in zip(parts, shown, strict=True):
        spare = max(0, width - cells(text))
        if text:
            line += " " * (owed + spare * column.right) + painted
            owed = _GAP + spare * (not column.right)
        else:
            owed += _GAP + spare
    return line
