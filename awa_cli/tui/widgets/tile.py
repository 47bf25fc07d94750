"""The tile of a job state: sign, number and name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from awa_cli.views.states import STATE_STYLES, state_sign

if TYPE_CHECKING:
    from awa_cli.tui.host import Host

__all__ = ["DEAD", "StateTile"]

DEAD: Final = "dead"
"""Stands for the dead letters, among the states of jobs."""
_NAMES: Final = {DEAD: "dead letters", "waiting_external": "waiting"}


class StateTile(Static, can_focus=True):
    """The number of jobs in a state; Enter or a click shows the jobs."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("enter", "open", "Open", id="tile.open"),
        Binding("left,h,k,up", "app.focus_previous", "Left", show=False, id="tile.left"),
        Binding("right,l,j,down", "app.focus_next", "Right", show=False, id="tile.right"),
    ]

    class Opened(Message):
        """Enter or a click on the tile."""

        def __init__(self, state: str) -> None:
            super().__init__()
            self.state = state

    def __init__(self, state: str, **options: Any) -> None:
        super().__init__(classes="tile", **options)
        self.state = state
        self.number: int | None = None

    def show(self, number: int) -> None:
        """Show the number if it has changed."""
        if number != self.number:
            self.number = number
            self._draw()

    def on_mount(self) -> None:
        """Draw again when the theme changes."""
        self.watch(self.app, "theme", self._draw, init=False)

    def _draw(self) -> None:
        number = self.number or 0
        sign = state_sign(self.state, ascii_only=self.app.ascii_only)
        style = self.app.paint.css(STATE_STYLES[self.state]) if number else ""
        name = _NAMES.get(self.state, self.state)
        self.set_class(number == 0, "-none")
        loud = f"bold {style}" if self.state in {"failed", DEAD} else "bold"
        self.update(Content.assemble((f"{sign} ", style), (f"{number:,}", loud), "\n", name))

    def action_open(self) -> None:
        """Show the jobs."""
        self.post_message(self.Opened(self.state))

    def on_click(self) -> None:
        """Show the jobs."""
        self.action_open()
