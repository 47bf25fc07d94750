"""A table of any length: draws what is seen, keeps the cursor on its row, repaints what changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Literal, TypeVar

from rich.segment import Segment
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from awa_cli.tui.widgets.cells import cell, sort_rows
from awa_cli.tui.widgets.layout import GAP, GUTTER, Layout
from awa_cli.views.states import state_sign
from awa_cli.views.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from rich.style import Style
    from textual import events

    from awa_cli.tui.app import Monitor
    from awa_cli.views.columns import Column

__all__ = ["Grid"]

T = TypeVar("T")
Edge = Literal["start", "end"]

# So many rows before an end of what is loaded, more are asked for.
_AHEAD: Final = 50


class Grid(ScrollView, Generic[T], can_focus=True):
    """Rows under columns.  ``key`` tells rows apart; the cursor and the marks follow it."""

    app: Monitor
    BINDINGS: ClassVar = [
        Binding("j,down", "move(1)", "Down", show=False, id="grid.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="grid.up"),
        Binding("ctrl+d", "page(0.5)", "Half a page down", show=False, id="grid.half-down"),
        Binding("ctrl+u", "page(-0.5)", "Half a page up", show=False, id="grid.half-up"),
        Binding("ctrl+f,pagedown", "page(1)", "Page down", show=False, id="grid.page-down"),
        Binding("ctrl+b,pageup", "page(-1)", "Page up", show=False, id="grid.page-up"),
        Binding("g,home", "edge('start')", "First row", show=False, id="grid.first"),
        Binding("G,end", "edge('end')", "Last row", show=False, id="grid.last"),
        Binding("h,left", "sideways(-8)", "Left", show=False, id="grid.left"),
        Binding("l,right", "sideways(8)", "Right", show=False, id="grid.right"),
        Binding("enter", "open", "Open", id="grid.open"),
        Binding("space", "mark", "Mark", show=False, id="grid.mark"),
        Binding("asterisk", "mark_all", "Mark all", show=False, id="grid.mark-all"),
    ]
    COMPONENT_CLASSES: ClassVar = {"grid--header", "grid--cursor", "grid--mark", "grid--empty"}

    class Told(Message):
        """Something about a grid."""

        def __init__(self, grid: Grid[Any]) -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> Grid[Any]:
            """The grid."""
            return self.grid

    class Opened(Told):
        """Enter, or a double click, on the row of the cursor."""

    class Moved(Told):
        """The cursor is on another row, or marks changed."""

    class Sorted(Told):
        """Another order was asked for by a click on a header."""

        def __init__(self, grid: Grid[Any], title: str) -> None:
            super().__init__(grid)
            self.title = title

    class Short(Told):
        """The view comes near an end of the rows; there may be more beyond."""

        def __init__(self, grid: Grid[Any], edge: Edge) -> None:
            super().__init__(grid)
            self.edge = edge

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], Hashable],
        *,
        empty: str = "Nothing here.",
        titles: list[str] | None = None,
        order: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.columns = list(columns)
        self.key = key
        self.empty = empty
        self.rows: list[T] = []
        self.cursor = 0
        self.marked: dict[Hashable, T] = {}
        self.follow = False
        self.sorts_itself = True
        self.loaded = False
        self._layout: Layout[T] = Layout(self.columns)
        self._layout.titles, self._layout.order = titles, order
        self._drawn: dict[int, Any] = {}

    # What is shown

    def show(self, rows: Sequence[T]) -> None:
        """Take the place of the rows; the cursor stays on its row, and its row where it is."""
        old = self.rows[self.cursor] if self.cursor < len(self.rows) else None
        before, top = self.cursor, self.scroll_offset.y
        self.rows = sort_rows(rows, self.columns, self.order) if self.sorts_itself else list(rows)
        self.loaded = True
        if self.marked:
            self.marked = {one: row for row in self.rows if (one := self.key(row)) in self.marked}
        if self.follow:
            self.cursor = 0
        elif old is not None:
            wanted = self.key(old)
            places = (i for i, row in enumerate(self.rows) if self.key(row) == wanted)
            self.cursor = next(places, min(self.cursor, len(self.rows) - 1))
        self.cursor = max(0, min(self.cursor, len(self.rows) - 1))
        self._layout.measure(self.rows, self.size.width)
        self._lay_out()
        if self.follow:
            self.scroll_to(y=0, animate=False, immediate=True)
        elif self.cursor != before and top:
            self.scroll_to(y=top + self.cursor - before, animate=False, immediate=True)
        self._repaint_changes()

    @property
    def row(self) -> T | None:
        """Return the row of the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def picked(self) -> list[T]:
        """Return the marked rows, or the one of the cursor."""
        return list(self.marked.values()) or ([self.row] if self.row is not None else [])

    @property
    def order(self) -> str | None:
        """Return the title that rows are sorted by, with ``-`` for the largest first."""
        return self._layout.order

    @property
    def shown_titles(self) -> list[str]:
        """Return the titles of the columns that are shown."""
        return [column.title for column in self._layout.shown]

    def put_cursor(self, key: Hashable) -> None:
        """Put the cursor on the row with this key, if it is there."""
        for number, row in enumerate(self.rows):
            if self.key(row) == key:
                self._go(number)
                return

    def sort_by(self, order: str | None) -> None:
        """Sort by the column of a title, ``-TITLE`` for the largest first."""
        self._layout.order = order
        if self.sorts_itself:
            self.show(self.rows)
        self._lay_out()
        self.refresh()

    def choose(self, titles: list[str] | None) -> None:
        """Show these columns, or for None those that fit."""
        self._layout.titles = titles
        self._layout.forget()
        self._layout.measure(self.rows, self.size.width)
        self._lay_out()
        self.refresh()

    # Layout

    def _lay_out(self) -> None:
        if self._layout.fit(self.size.width):
            self.refresh()
        size = Size(max(self._layout.total, 1), len(self.rows) + 1)
        if size != self.virtual_size:
            self.virtual_size = size
            self.refresh()

    def on_resize(self) -> None:
        """Fit the columns anew."""
        self._layout.choose(self.size.width)
        self._lay_out()
        self._show_cursor()

    # Drawing

    def render_line(self, y: int) -> Strip:
        """Draw one line of the view; the header stays at the top."""
        base = self.rich_style
        if y == 0:
            strip = self._header(base)
        elif not self.rows:
            strip = self._message(y, base)
        else:
            strip = self._row(self.scroll_offset.y + y - 1, base)
        left = self.scroll_offset.x
        return strip.crop_extend(left, left + self.size.width, base)

    def _header(self, base: Style) -> Strip:
        style = self.get_component_rich_style("grid--header")
        parts = [Segment(" " * GUTTER, style)]
        order = (self.order or "").removeprefix("-")
        for number, (column, width) in enumerate(self._layout.pairs()):
            title = column.title
            if title == order:
                down = (self.order or "").startswith("-")
                title += ("v" if down else "^") if self.app.ascii_only else ("▾" if down else "▴")
            text = cell(title, width, right=column.right)
            parts.append(Segment(text, style))
            if number + 1 < len(self._layout.shown):
                parts.append(Segment(" " * GAP, style))
        strip = Strip(parts)
        return strip.extend_cell_length(max(strip.cell_length, self.size.width), style or base)

    def _message(self, y: int, base: Style) -> Strip:
        text = f"  {self.empty}" if y == 2 and self.loaded else ""  # noqa: PLR2004 - a blank line under the header
        return Strip([Segment(text, base + self.get_component_rich_style("grid--empty"))])

    def _row(self, number: int, base: Style) -> Strip:
        if not 0 <= number < len(self.rows):
            return Strip.blank(self.size.width, base)
        row = self.rows[number]
        at = number == self.cursor
        style = base + self.get_component_rich_style("grid--cursor") if at else base
        sign = "* " if self.app.ascii_only else "● "
        mark = sign if self.key(row) in self.marked else "  "
        parts = [Segment(mark, style + self.get_component_rich_style("grid--mark", partial=True))]
        for place, (text, color) in enumerate(self._cells(row)):
            if place:
                parts.append(Segment(" " * GAP, style))
            parts.append(Segment(text, style + self.app.paint(color) if color else style))
        strip = Strip(parts)
        return strip.extend_cell_length(max(strip.cell_length, self.virtual_size.width), style)

    def _cells(self, row: T) -> list[tuple[str, str]]:
        found = []
        for column, width in self._layout.pairs():
            text = clean(column.get(row))
            if column.state:
                text = f"{state_sign(column.state(row), ascii_only=self.app.ascii_only)} {text}"
            text = cell(text, width, right=column.right, ascii_only=self.app.ascii_only)
            found.append((text, column.style(row) if column.style else ""))
        return found

    def _repaint_changes(self) -> None:
        """Repaint the lines whose text is another than at the last look."""
        drawn: dict[int, Any] = {}
        for y in range(1, self.size.height):
            number = self.scroll_offset.y + y - 1
            row = self.rows[number] if number < len(self.rows) else None
            drawn[y] = None if row is None else (
                number == self.cursor, self.key(row) in self.marked, self._cells(row)
            )  # fmt: skip
            if y not in self._drawn or self._drawn[y] != drawn[y]:
                self.refresh(Region(0, y, self.size.width, 1))
        self._drawn = drawn

    # Moving

    def _go(self, number: int) -> None:
        number = max(0, min(number, len(self.rows) - 1))
        if number != self.cursor:
            self.cursor = number
            self.follow = self.follow and number == 0
            self.post_message(self.Moved(self))
        self._show_cursor()
        self.refresh()
        self._ask_for_more()

    def _show_cursor(self) -> None:
        height = max(self.size.height - 1, 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def _ask_for_more(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        if max(self.cursor, top + height) > len(self.rows) - _AHEAD:
            self.post_message(self.Short(self, "end"))
        if min(self.cursor, top) < _AHEAD:
            self.post_message(self.Short(self, "start"))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Ask for more rows when the wheel comes near the end."""
        super().watch_scroll_y(old_value, new_value)
        if self.rows and round(old_value) != round(new_value):
            self._ask_for_more()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        self._go(self.cursor + step)

    def action_page(self, pages: float) -> None:
        """Move by pages of the view."""
        self._go(self.cursor + int(pages * max(self.size.height - 2, 1)))

    def action_edge(self, edge: Edge) -> None:
        """Go to the first or the last row that is loaded."""
        self._go(0 if edge == "start" else len(self.rows) - 1)

    def action_sideways(self, cells: int) -> None:
        """Scroll columns that do not fit."""
        self.scroll_to(x=self.scroll_offset.x + cells, animate=False, immediate=True)

    def action_open(self) -> None:
        """Go into the row."""
        if self.row is not None:
            self.post_message(self.Opened(self))

    def action_mark(self) -> None:
        """Mark the row, or take its mark away, and go on to the next."""
        if (row := self.row) is None:
            return
        if self.marked.pop(self.key(row), None) is None:
            self.marked[self.key(row)] = row
        self.post_message(self.Moved(self))
        self._go(self.cursor + 1)

    def action_mark_all(self) -> None:
        """Mark every row that is loaded, or none any more."""
        whole = len(self.marked) < len(self.rows)
        self.marked = {self.key(row): row for row in self.rows} if whole else {}
        self.post_message(self.Moved(self))
        self.refresh()

    def clear_marks(self) -> bool:
        """Take all marks away; return whether there were any."""
        had = bool(self.marked)
        self.marked = {}
        self.refresh()
        return had

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on a row, open it by a double click, sort by a header."""
        if event.y > 0:
            self._go(self.scroll_offset.y + event.y - 1)
            if event.chain > 1:
                self.action_open()
            return
        x = event.x + self.scroll_offset.x - GUTTER
        for column, width in self._layout.pairs():
            if x < width:
                self.post_message(self.Sorted(self, column.title))
                return
            x -= width + GAP
