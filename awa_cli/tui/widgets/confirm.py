"""Ask before a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from awa_cli.views.actions import Danger

if TYPE_CHECKING:
    from textual import events
    from textual.app import ComposeResult

    from awa_cli.tui.changes.change import Deed

__all__ = ["Confirm"]

# Keys that come sooner were meant for what was there before: a held key, a text pasted as keys.
# Each of them starts the time anew.
_DEAF_SECONDS: Final = 0.3


class Confirm(ModalScreen[bool]):
    """The question of an action, with its verb on the button; a protected context asks its name."""

    BINDINGS: ClassVar = [
        Binding("y", "yes", "Yes", id="confirm.yes"),
        Binding("n,escape,q", "no", "No", id="confirm.no"),
        Binding("left,h", "app.focus_previous", "Left", show=False),
        Binding("right,l", "app.focus_next", "Right", show=False),
    ]

    def __init__(self, deed: Deed, *, protected: str | None = None, note: str = "") -> None:
        super().__init__()
        self.deed = deed
        self._protected = protected
        self._note = note
        self._deaf_until = Message().time + _DEAF_SECONDS
        self._heard = False

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        action = self.deed.action
        risky = action.danger >= Danger.DESTRUCTIVE
        with Vertical(id="dialog", classes="-risky" if risky else ""):
            yield Static(self.deed.question, id="question", markup=False)
            if self._note or self.deed.undo or risky:
                yield Static(self._note or self._consequence(), id="note", markup=False)
            if self._protected is not None:
                yield Static(
                    f"{self._protected} is protected; type its name to go on",
                    id="protected",
                    markup=False,
                )
                yield Input(id="name")
            with Horizontal(id="buttons"):
                yield Button(action.verb, id="yes", variant="error" if risky else "primary")
                yield Button("No", id="no")

    def _consequence(self) -> str:
        return "Can be undone with u." if self.deed.undo else "This cannot be undone."

    def on_mount(self) -> None:
        """Begin to listen, and let a risky answer not be the one of Enter."""
        self._deaf_until = Message().time + _DEAF_SECONDS
        risky = self.deed.action.danger >= Danger.DESTRUCTIVE
        first = "#name" if self._protected is not None else "#no" if risky else "#yes"
        self.query_one(first).focus()

    @property
    def listens(self) -> bool:
        """Return True once a key would be heard."""
        return self.is_mounted and Message().time >= self._deaf_until

    def hears(self, event: events.Event) -> bool:
        """Say whether a key or a click is meant for this question; the app asks before each.

        What counts is when it was made: a busy program sees it later.
        """
        if event.time < self._deaf_until:
            self._deaf_until = max(self._deaf_until, event.time + _DEAF_SECONDS)
            return False
        self._heard = True
        return True

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer."""
        self._answer(yes=event.button.id == "yes")

    def on_input_submitted(self) -> None:
        """Answer yes, if the name is right."""
        self._answer(yes=True)

    def action_yes(self) -> None:
        """Answer yes."""
        self._answer(yes=True)

    def action_no(self) -> None:
        """Answer no."""
        self.dismiss(False)

    def _answer(self, *, yes: bool) -> None:
        if not yes:
            self.dismiss(False)
        elif not self._heard:
            # A key that was on its way to the screen below when this one came up.
            return
        elif self._named():
            self.dismiss(True)
        else:
            self.query_one("#name").focus()
            self.query_one("#protected").add_class("-wrong")

    def _named(self) -> bool:
        """Say whether the name of a protected context was typed."""
        if self._protected is None:
            return True
        return self.query_one("#name", Input).value.strip() == self._protected
