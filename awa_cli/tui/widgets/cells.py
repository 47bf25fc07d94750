"""Cells of a table: fit a text to a width, sort rows by a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.views.columns import Column

__all__ = ["cell", "sort_rows"]

T = TypeVar("T")

# Signs and branches of a tree, for terminals without Unicode.
_PLAIN: Final = str.maketrans("·▶✓✗◷↻†…└├│", ".>+x@~x~`||")


def cell(text: str, width: int, *, right: bool = False, ascii_only: bool = False) -> str:
    """Return the text cut or padded to a width in terminal cells."""
    if ascii_only and not text.isascii():
        text = text.translate(_PLAIN).encode("ascii", "replace").decode()
    length = cell_len(text)
    if length > width:
        return (
            set_cell_size(text, max(width - 1, 0)) + ("~" if ascii_only else "…")[: max(width, 0)]
        )
    return " " * (width - length) + text if right else text + " " * (width - length)


def sort_rows(rows: Sequence[T], columns: Sequence[Column[T]], order: str | None) -> list[T]:
    """Return the rows sorted by a column; rows without a value come last."""
    key = (order or "").removeprefix("-")
    column = next((one for one in columns if one.key == key), None)
    if column is None:
        return list(rows)
    value = column.by or column.get
    sortable = [row for row in rows if value(row) is not None]
    sortable.sort(key=lambda row: _sort_key(value(row)), reverse=(order or "").startswith("-"))
    return sortable + [row for row in rows if value(row) is None]


def _sort_key(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
