"""The confirmation before a change."""

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

    from awa_cli.tui.changes.change import Change

__all__ = ["Confirm"]

# Keys pressed earlier were meant for the page below: a held key, a text pasted as keys.
# Each of them starts the period again.
_IGNORE_SECONDS: Final = 0.3


class Confirm(ModalScreen[bool]):
    """Asks whether to make a change; in a protected context the user types the context's name."""

    BINDINGS: ClassVar = [
        Binding("y", "yes", "Yes", id="confirm.yes"),
        Binding("n,escape,q", "no", "No", id="confirm.no"),
        Binding("left,h", "app.focus_previous", "Left", show=False),
        Binding("right,l", "app.focus_next", "Right", show=False),
    ]

    def __init__(self, change: Change, *, protected: str | None = None, note: str = "") -> None:
        super().__init__()
        self.change = change
        self._protected = protected
        self._note = note
        self._ignore_until = Message().time + _IGNORE_SECONDS
        self._accepted = False

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        action = self.change.action
        risky = action.danger >= Danger.DESTRUCTIVE
        with Vertical(id="confirm", classes="-risky" if risky else ""):
            yield Static(self.change.question, id="question", markup=False)
            if notes := [text for text in (self._note, self._consequence()) if text]:
                yield Static("\n".join(notes), id="note", markup=False)
            if self._protected is not None:
                yield Static(
                    f"{self._protected} is protected: type its name to confirm",
                    id="protected",
                    markup=False,
                )
                yield Input(id="name")
            with Horizontal(id="buttons"):
                yield Button(action.verb, id="yes", variant="error" if risky else "primary")
                yield Button("No", id="no")

    def _consequence(self) -> str:
        if self.change.undo:
            return "Can be undone with u."
        risky = self.change.action.danger >= Danger.DESTRUCTIVE
        return self.change.action.note or ("This cannot be undone." if risky else "")

    def on_mount(self) -> None:
        """Focus the answer of Enter: No for a destructive change."""
        self._ignore_until = Message().time + _IGNORE_SECONDS
        risky = self.change.action.danger >= Danger.DESTRUCTIVE
        first = "#name" if self._protected is not None else "#no" if risky else "#yes"
        self.query_one(first).focus()

    @property
    def ready(self) -> bool:
        """Return True once a key would be accepted."""
        return self.is_mounted and Message().time >= self._ignore_until

    def accepts(self, event: events.Event) -> bool:
        """Return True if a key or a click is meant for this dialog; the app asks for each.

        The time of the event counts: a busy program handles it later.
        """
        if event.time < self._ignore_until:
            self._ignore_until = max(self._ignore_until, event.time + _IGNORE_SECONDS)
            return False
        self._accepted = True
        return True

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Return the answer."""
        self._answer(yes=event.button.id == "yes")

    def on_input_submitted(self) -> None:
        """Confirm if the name is correct."""
        self._answer(yes=True)

    def action_yes(self) -> None:
        """Confirm."""
        self._answer(yes=True)

    def action_no(self) -> None:
        """Cancel."""
        self.dismiss(False)

    def _answer(self, *, yes: bool) -> None:
        if not yes:
            self.dismiss(False)
        elif not self._accepted:
            # The key was on its way to the page below when this dialog opened.
            return
        elif self._name_is_typed():
            self.dismiss(True)
        else:
            self.query_one("#name").focus()
            self.query_one("#protected").add_class("-wrong")

    def _name_is_typed(self) -> bool:
        """Return True if the context is not protected, or its name was typed."""
        if self._protected is None:
            return True
        return self.query_one("#name", Input).value.strip() == self._protected
