"""The width of text and of columns, in cells of a terminal."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cells", "cut", "fit"]


def cells(text: str) -> int:
    """Return the number of cells that a text takes."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def _cell(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 1 + (unicodedata.east_asian_width(character) in {"W", "F"})


def cut(text: str, width: int) -> str:
    """Return the text in at most ``width`` cells, with an ellipsis where it is cut."""
    if cells(text) <= width:
        return text
    kept, used = "", 1
    for character in text:
        used += _cell(character)
        if used > width:
            break
        kept += character
    return kept + "…"


def fit(wanted: Sequence[int], least: Sequence[int | None], room: int) -> list[int]:
    """Take cells from the widest columns until all fit, or none may shrink further.

    ``least`` is the smallest width of each column, None for a column that is never cut.
    """
    widths = list(wanted)
    while sum(widths) > room:
        able = [i for i, low in enumerate(least) if low is not None and widths[i] > low]
        if not able:
            break
        widths[max(able, key=widths.__getitem__)] -= 1
    return widths
