"""The list of alerts: what, since when, and what to do; Enter opens what an alert is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.segment import Segment
from textual.binding import Binding
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from awa_cli.tui.widgets.cells import cell
from awa_cli.views.alerts import ALERT_SIGNS, ALERT_STYLES
from awa_cli.views.words import clean, clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.style import Style
    from textual import events

    from awa_cli.tui.host import Host
    from awa_cli.views.alerts import Alert

__all__ = ["AlertList"]

# More alerts are behind the page: the worst come first.
_SHOWN: Final = 5
_SINCE: Final = "since "


class AlertList(Widget, can_focus=True):
    """A line for each alert, and a line with what to do about the one under the cursor."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("j,down", "move(1)", "Down", show=False, id="alerts.down"),
        Binding("k,up", "move(-1)", "Up", show=False, id="alerts.up"),
        Binding("left,h", "app.focus_previous", "Left", show=False, id="alerts.left"),
        Binding("right,l", "app.focus_next", "Right", show=False, id="alerts.right"),
        Binding("enter", "open", "Open alert", id="alerts.open"),
        Binding("y", "copy", "Copy command", id="alerts.copy"),
    ]

    class Opened(Message):
        """Enter or a click on an alert."""

        def __init__(self, alert: Alert) -> None:
            super().__init__()
            self.alert = alert

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.alerts: list[Alert] = []
        self._cursor = 0

    def show(self, alerts: Sequence[Alert]) -> None:
        """Replace the alerts; the cursor stays on its alert."""
        found = list(alerts)
        if found == self.alerts:
            return
        before = self.current
        self.alerts = found
        same = (i for i, one in enumerate(found) if before and _id(one) == _id(before))
        self._cursor = min(next(same, 0), max(len(found) - 1, 0))
        self.display = bool(found)
        self.styles.height = min(len(found), _SHOWN) + 1
        self.refresh()

    @property
    def current(self) -> Alert | None:
        """Return the alert under the cursor."""
        return self.alerts[self._cursor] if self._cursor < len(self.alerts) else None

    @property
    def _top(self) -> int:
        return max(0, self._cursor - _SHOWN + 1)

    def render_line(self, y: int) -> Strip:
        """Draw an alert, or what to do about the one under the cursor."""
        base, width = self.rich_style, self.size.width
        number = self._top + y
        if y < min(len(self.alerts), _SHOWN):
            return self._alert(self.alerts[number], base, at=number == self._cursor)
        if self.current is None:
            return Strip.blank(width, base)
        hidden = len(self.alerts) - _SHOWN
        more = f"{hidden} more alerts  " if hidden > 0 else ""
        muted = base + self.app.paint("bright_black")
        start = f" {more}to do: "
        parts = [Segment(start, muted), Segment(self.current.do, base + self.app.paint("cyan"))]
        return Strip(parts).adjust_cell_length(width, base)

    def _alert(self, one: Alert, base: Style, *, at: bool) -> Strip:
        width = self.size.width
        if at and self.has_focus:
            base = base + self.get_component_rich_style("alerts--cursor")
        sign = ALERT_SIGNS[one.severity][1 if self.app.ascii_only else 0]
        since = f"  {_SINCE}{clock(one.since)} " if one.since else " "
        room = max(width - len(since) - 3, 0)
        style = base + self.app.paint(ALERT_STYLES[one.severity])
        text = cell(clean(one.text), room, ascii_only=self.app.ascii_only)
        muted = base + self.app.paint("bright_black")
        parts = [Segment(f" {sign} ", style), Segment(text, style), Segment(since, muted)]
        return Strip(parts).adjust_cell_length(width, base)

    COMPONENT_CLASSES: ClassVar = {"alerts--cursor"}

    def action_move(self, step: int) -> None:
        """Move the cursor; beyond an end, go to what is above or below the list."""
        wanted = self._cursor + step
        if 0 <= wanted < len(self.alerts):
            self._cursor = wanted
            self.refresh()
        elif wanted < 0:
            self.screen.focus_previous()
        else:
            self.screen.focus_next()

    def action_open(self) -> None:
        """Open what the alert is about."""
        if self.current is not None:
            self.post_message(self.Opened(self.current))

    def action_copy(self) -> None:
        """Copy the command."""
        if self.current is not None:
            self.app.copy_to_clipboard(self.current.do)
            self.app.notify("Copied.")

    def on_click(self, event: events.Click) -> None:
        """Open the alert of the line."""
        number = self._top + event.y
        if event.y < _SHOWN and number < len(self.alerts):
            self._cursor = number
            self.action_open()


def _id(one: Alert) -> tuple[str, str | None, str]:
    """Return what stays the same while an alert goes on."""
    return one.rule, one.subject, one.do
