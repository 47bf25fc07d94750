"""Small dialogs: a letter, one of several, some of several, a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, SelectionList, Static
from textual.widgets.option_list import Option
from textual.widgets.selection_list import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual import events
    from textual.app import ComposeResult

__all__ = ["AskKey", "AskText", "Pick", "PickMany"]


class AskKey(ModalScreen[str | None]):
    """Asks for one letter or digit."""

    BINDINGS: ClassVar = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, lines: Sequence[str] = ()) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        """Lay out the question."""
        with Vertical(classes="ask"):
            yield Static(self._title, classes="ask-title", markup=False)
            for line in self._lines:
                yield Static(line, markup=False)

    def on_key(self, event: events.Key) -> None:
        """Take a letter; anything else is no answer."""
        event.stop()
        letter = event.character or ""
        self.dismiss(letter if letter.isalnum() else None)


class Pick(ModalScreen[str | None]):
    """Asks for one of several."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "Cancel"),
        Binding("j", "down", "Down", show=False),
        Binding("k", "up", "Up", show=False),
    ]

    def __init__(
        self, title: str, options: Sequence[tuple[str, str]], now: str | None = None
    ) -> None:
        super().__init__()
        self._title = title
        self._options = options
        self._now = now

    def compose(self) -> ComposeResult:
        """Lay out the choices."""
        with Vertical(classes="ask"):
            yield Static(self._title, classes="ask-title", markup=False)
            yield OptionList(*[Option(text, name) for name, text in self._options], markup=False)

    def on_mount(self) -> None:
        """Begin with the present one."""
        names = [name for name, _ in self._options]
        if self._now in names:
            self.query_one(OptionList).highlighted = names.index(self._now)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Answer."""
        self.dismiss(event.option.id)

    def action_down(self) -> None:
        """Go down."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """Go up."""
        self.query_one(OptionList).action_cursor_up()


class PickMany(ModalScreen["list[str] | None"]):
    """Asks for some of several: Space chooses, Enter ends."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "Cancel"),
        Binding("enter", "done", "Done", priority=True),
    ]

    def __init__(self, title: str, options: Sequence[str], chosen: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._options = options
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """Lay out the choices."""
        with Vertical(classes="ask"):
            yield Static(f"{self._title}: Space, then Enter", classes="ask-title", markup=False)
            yield SelectionList[str](
                *[Selection(one, one, one in self._chosen) for one in self._options]
            )

    def action_done(self) -> None:
        """Answer in the order of the choices."""
        chosen = self.query_one(SelectionList).selected
        self.dismiss([one for one in self._options if one in chosen])


class AskText(ModalScreen[str | None]):
    """Asks for a line of text.  ``check`` returns what is wrong with it, or None."""

    BINDINGS: ClassVar = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(
        self,
        title: str,
        value: str = "",
        *,
        check: Callable[[str], str | None] | None = None,
    ) -> None:
        super().__init__()
        self._title = title
        self._value = value
        self._check = check

    def compose(self) -> ComposeResult:
        """Lay out the line."""
        with Vertical(classes="ask"):
            yield Static(self._title, classes="ask-title", markup=False)
            yield Input(self._value)
            yield Static("", classes="ask-error", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Answer, if nothing is wrong."""
        text = event.value.strip()
        wrong = self._check(text) if self._check else None
        if wrong is None and text:
            self.dismiss(text)
        else:
            self.query_one(".ask-error", Static).update(wrong or "")
