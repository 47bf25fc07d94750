"""The columns that a table shows, and their widths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rich.cells import cell_len

from awa_cli.views.widths import fit
from awa_cli.views.words import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from awa_cli.views.columns import Column

__all__ = ["GAP", "GUTTER", "Layout"]

T = TypeVar("T")

GUTTER: Final = 2
"""Cells on the left, for marks."""
GAP: Final = 2
"""Cells between columns."""
# Rows that are measured; longer texts further down are cut.
_MEASURED_ROWS: Final = 200
# Rows that are measured to choose the columns.
_CHOOSING_ROWS: Final = 20
# Cells that optional columns leave to the last column.
_SPARE: Final = 20


class Layout(Generic[T]):
    """Columns with their widths, which only grow, so that columns do not jump."""

    def __init__(self, columns: Sequence[Column[T]]) -> None:
        self._columns = list(columns)
        self.chosen: list[str] | None = None
        """Keys of the columns to show; None for those that fit."""
        self.order: str | None = None
        """The key of the column that rows are sorted by, with ``-`` for descending order."""
        self.shown: list[Column[T]] = []
        self._widths: list[int] = []
        self._wanted: dict[str, int] = {}

    def pairs(self) -> Iterator[tuple[Column[T], int]]:
        """Yield the shown columns with their widths, from the left."""
        return zip(self.shown, self._widths, strict=True)

    @property
    def total(self) -> int:
        """Return the width of a line in cells."""
        return GUTTER + sum(self._widths) + GAP * max(len(self._widths) - 1, 0)

    def choose(self, width: int) -> None:
        """Choose the columns to show in a width."""
        if self.chosen is not None:
            self.shown = [one for one in self._columns if one.key in self.chosen]
            if self.shown:
                return
        self.shown = [one for one in self._columns if not one.wide]
        taken = sum(self._width(one) + GAP for one in self.shown)
        for one in self._columns:
            if one.wide and taken + self._width(one) + GAP <= width - GUTTER - _SPARE:
                taken += self._width(one) + GAP
                self.shown.append(one)
        self.shown.sort(key=self._columns.index)

    def measure(self, rows: Sequence[T], width: int) -> None:
        """Widen columns to fit these rows; the first rows decide which columns are shown."""
        if not self._wanted and rows:
            for column in self._columns:
                self._widen(column, rows[:_CHOOSING_ROWS])
            self.choose(width)
        for column in self.shown:
            self._widen(column, rows[:_MEASURED_ROWS])

    def fit(self, width: int) -> bool:
        """Fit the columns into a width; return whether any width has changed."""
        if not self.shown:
            self.choose(width)
        room = width - GUTTER - GAP * max(len(self.shown) - 1, 0)
        wanted = [self._width(one) for one in self.shown]
        widths = fit(wanted, [one.width for one in self.shown], room)
        if widths and (spare := room - sum(widths)) > 0 and not self.shown[-1].right:
            widths[-1] += spare
        changed = widths != self._widths
        self._widths = widths
        return changed

    def forget(self) -> None:
        """Discard what was measured."""
        self._wanted.clear()

    def _width(self, column: Column[T]) -> int:
        arrow = (self.order or "").removeprefix("-") == column.key
        return max(self._wanted.get(column.key, 0), len(column.title) + arrow)

    def _widen(self, column: Column[T], rows: Sequence[T]) -> None:
        extra = 2 if column.state else 0
        longest = max((cell_len(clean(column.get(row))) + extra for row in rows), default=0)
        self._wanted[column.key] = max(self._width(column), longest)
