"""A table of any length: draws visible rows, keeps the cursor on its row, repaints changes."""

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

    from awa_cli.tui.host import Host
    from awa_cli.views.columns import Column

__all__ = ["Grid"]

T = TypeVar("T")
Edge = Literal["start", "end"]

# More rows are requested when the view comes this close to an end of the loaded rows.
_AHEAD: Final = 50
# The line of the text that stands for no rows: below the header and a blank line.
_EMPTY_LINE: Final = 2


class Grid(ScrollView, Generic[T], can_focus=True):
    """Rows and columns.  ``key`` identifies a row; the cursor and the marks follow it."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("j,down", "move(1)", "Down", show=False, id="grid.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="grid.up"),
        Binding("ctrl+d", "scroll_view(0.5)", "Half a page down", show=False, id="grid.half-down"),
        Binding("ctrl+u", "scroll_view(-0.5)", "Half a page up", show=False, id="grid.half-up"),
        Binding("ctrl+f,pagedown", "scroll_view(1)", "Page down", show=False, id="grid.page-down"),
        Binding("ctrl+b,pageup", "scroll_view(-1)", "Page up", show=False, id="grid.page-up"),
        Binding("g,home", "edge('start')", "First row", show=False, id="grid.first"),
        Binding("G,end", "edge('end')", "Last row", show=False, id="grid.last"),
        Binding("h,left", "sideways(-8)", "Left", show=False, id="grid.left"),
        Binding("l,right", "sideways(8)", "Right", show=False, id="grid.right"),
        Binding("enter", "open", "Open", id="grid.open", tooltip="Open the row"),
        Binding(
            "space",
            "mark",
            "Mark",
            show=False,
            id="grid.mark",
            tooltip="Mark the row, to change several at once",
        ),
        Binding(
            "asterisk",
            "mark_all",
            "Mark all",
            show=False,
            id="grid.mark-all",
            tooltip="Mark all rows, or none",
        ),
    ]
    COMPONENT_CLASSES: ClassVar = {"grid--header", "grid--cursor", "grid--mark", "grid--empty"}

    class GridMessage(Message):
        """A message of a grid."""

        def __init__(self, grid: Grid[Any]) -> None:
            super().__init__()
            self.grid = grid

        @property
        def control(self) -> Grid[Any]:
            """The grid."""
            return self.grid

    class Opened(GridMessage):
        """Enter or a double click on the current row."""

    class Moved(GridMessage):
        """The cursor is on another row, or the marks have changed."""

    class Sorted(GridMessage):
        """A click on the header of a column."""

        def __init__(self, grid: Grid[Any], key: str) -> None:
            super().__init__(grid)
            self.key = key

    class NearEnd(GridMessage):
        """The view comes close to an end of the loaded rows; there may be more."""

        def __init__(self, grid: Grid[Any], edge: Edge) -> None:
            super().__init__(grid)
            self.edge = edge

    def __init__(
        self,
        columns: Sequence[Column[T]],
        key: Callable[[T], Hashable],
        *,
        empty: str = "Nothing here.",
        shown: list[str] | None = None,
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
        self._layout.chosen, self._layout.order = shown, order
        self._drawn: dict[int, Any] = {}

    # Rows

    def show(self, rows: Sequence[T]) -> None:
        """Replace the rows; the cursor stays on its row, and the row where it is on the screen."""
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
            positions = (i for i, row in enumerate(self.rows) if self.key(row) == wanted)
            self.cursor = next(positions, min(self.cursor, len(self.rows) - 1))
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
        """Return the row under the cursor."""
        return self.rows[self.cursor] if self.cursor < len(self.rows) else None

    @property
    def selected(self) -> list[T]:
        """Return the marked rows, or else the row under the cursor."""
        return list(self.marked.values()) or ([self.row] if self.row is not None else [])

    @property
    def order(self) -> str | None:
        """Return the key of the column that rows are sorted by, with ``-`` for descending order."""
        return self._layout.order

    @property
    def shown(self) -> list[str]:
        """Return the keys of the columns that are shown."""
        return [column.key for column in self._layout.shown]

    def put_cursor(self, key: Hashable) -> None:
        """Move the cursor to the row with this key, if it is loaded."""
        for number, row in enumerate(self.rows):
            if self.key(row) == key:
                self._go(number)
                return

    def sort_by(self, order: str | None) -> None:
        """Sort by a column, with ``-`` for descending order."""
        self._layout.order = order
        if self.sorts_itself:
            self.show(self.rows)
        self._lay_out()
        self.refresh()

    def choose(self, keys: list[str] | None) -> None:
        """Show these columns; None for those that fit."""
        self._layout.chosen = keys
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
        """Fit the columns."""
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
            if column.key == order:
                down = (self.order or "").startswith("-")
                title += ("v" if down else "^") if self.app.ascii_only else ("▾" if down else "▴")
            text = cell(title, width, right=column.right)
            parts.append(Segment(text, style))
            if number + 1 < len(self._layout.shown):
                parts.append(Segment(" " * GAP, style))
        strip = Strip(parts)
        return strip.extend_cell_length(max(strip.cell_length, self.size.width), style or base)

    def _message(self, y: int, base: Style) -> Strip:
        text = f"  {self.empty}" if y == _EMPTY_LINE and self.loaded else ""
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
        for index, (text, color) in enumerate(self._cells(row)):
            if index:
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
        """Repaint the lines that have changed."""
        drawn: dict[int, Any] = {}
        for y in range(1, self.size.height):
            number = self.scroll_offset.y + y - 1
            row = self.rows[number] if number < len(self.rows) else None
            if row is None:
                drawn[y] = None
            else:
                marked = self.key(row) in self.marked
                drawn[y] = (number == self.cursor, marked, self._cells(row))
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
        self._request_more()

    def _show_cursor(self) -> None:
        height = max(self.size.height - 1, 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, immediate=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, immediate=True)

    def _request_more(self) -> None:
        top, height = self.scroll_offset.y, self.size.height
        if max(self.cursor, top + height) > len(self.rows) - _AHEAD:
            self.post_message(self.NearEnd(self, "end"))
        if min(self.cursor, top) < _AHEAD:
            self.post_message(self.NearEnd(self, "start"))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Request more rows when the mouse wheel comes close to an end."""
        super().watch_scroll_y(old_value, new_value)
        if self.rows and round(old_value) != round(new_value):
            self._request_more()

    def action_move(self, step: int) -> None:
        """Move the cursor."""
        self._go(self.cursor + step)

    def action_scroll_view(self, views: float) -> None:
        """Move the cursor by the height of the view."""
        self._go(self.cursor + int(views * max(self.size.height - 2, 1)))

    def action_edge(self, edge: Edge) -> None:
        """Move to the first or the last loaded row."""
        self._go(0 if edge == "start" else len(self.rows) - 1)

    def action_sideways(self, cells: int) -> None:
        """Scroll sideways."""
        self.scroll_to(x=self.scroll_offset.x + cells, animate=False, immediate=True)

    def action_open(self) -> None:
        """Open the row."""
        if self.row is not None:
            self.post_message(self.Opened(self))

    def action_mark(self) -> None:
        """Mark or unmark the row, and move to the next."""
        if (row := self.row) is None:
            return
        if self.marked.pop(self.key(row), None) is None:
            self.marked[self.key(row)] = row
        self.post_message(self.Moved(self))
        self._go(self.cursor + 1)

    def action_mark_all(self) -> None:
        """Mark all loaded rows, or unmark them if all are marked."""
        mark = len(self.marked) < len(self.rows)
        self.marked = {self.key(row): row for row in self.rows} if mark else {}
        self.post_message(self.Moved(self))
        self.refresh()

    def clear_marks(self) -> bool:
        """Unmark all rows; return whether any was marked."""
        had = bool(self.marked)
        self.marked = {}
        self.refresh()
        return had

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row, open it on a double click, sort on a click on a header."""
        if event.y > 0:
            self._go(self.scroll_offset.y + event.y - 1)
            if event.chain > 1:
                self.action_open()
            return
        x = event.x + self.scroll_offset.x - GUTTER
        for column, width in self._layout.pairs():
            if x < width:
                self.post_message(self.Sorted(self, column.key))
                return
            x -= width + GAP
