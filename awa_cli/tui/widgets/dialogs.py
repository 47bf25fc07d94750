"""Dialogs that ask for a letter, one choice, several choices, or a line of text."""

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

__all__ = ["AskKey", "AskText", "Pick", "PickMany", "PickPriority"]


class AskKey(ModalScreen[str | None]):
    """Asks for a letter or a digit."""

    BINDINGS: ClassVar = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, title: str, lines: Sequence[str] = ()) -> None:
        super().__init__()
        self._title = title
        self._lines = lines

    def compose(self) -> ComposeResult:
        """Lay out the dialog."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            for line in self._lines:
                yield Static(line, markup=False)

    def on_key(self, event: events.Key) -> None:
        """Return the letter or digit; any other key cancels."""
        event.stop()
        letter = event.character or ""
        self.dismiss(letter if letter.isalnum() else None)


class Pick(ModalScreen[str | None]):
    """Asks for one of several choices."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "Cancel"),
        Binding("j", "down", "Down", show=False),
        Binding("k", "up", "Up", show=False),
    ]

    def __init__(
        self, title: str, options: Sequence[tuple[str, str]], current: str | None = None
    ) -> None:
        super().__init__()
        self._title = title
        self._options = options
        self._current = current

    def compose(self) -> ComposeResult:
        """Lay out the choices."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield OptionList(*[Option(text, name) for name, text in self._options], markup=False)

    def on_mount(self) -> None:
        """Put the cursor on the current choice."""
        names = [name for name, _ in self._options]
        if self._current in names:
            self.query_one(OptionList).highlighted = names.index(self._current)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Return the choice."""
        self.dismiss(event.option.id)

    def action_down(self) -> None:
        """Move down."""
        self.query_one(OptionList).action_cursor_down()

    def action_up(self) -> None:
        """Move up."""
        self.query_one(OptionList).action_cursor_up()


class PickPriority(Pick):
    """Asks for the priority of jobs."""

    def __init__(self) -> None:
        texts = ("1  highest", "2  default", "3", "4  lowest")
        super().__init__("Which priority?", [(text[0], text) for text in texts], "2")


class PickMany(ModalScreen["list[str] | None"]):
    """Asks for several choices: Space toggles a choice, Enter returns."""

    BINDINGS: ClassVar = [
        Binding("escape,q", "dismiss(None)", "Cancel"),
        Binding("enter", "done", "Done", priority=True),
    ]

    def __init__(
        self, title: str, options: Sequence[tuple[str, str]], chosen: Sequence[str]
    ) -> None:
        super().__init__()
        self._title = title
        self._options = options
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        """Lay out the choices."""
        with Vertical(classes="dialog"):
            yield Static(f"{self._title}: Space, then Enter", classes="dialog-title", markup=False)
            yield SelectionList[str](
                *[Selection(text, name, name in self._chosen) for name, text in self._options]
            )

    def action_done(self) -> None:
        """Return the chosen options, in their order."""
        chosen = self.query_one(SelectionList).selected
        self.dismiss([name for name, _ in self._options if name in chosen])


class AskText(ModalScreen[str | None]):
    """Asks for a line of text.  ``check`` returns what is wrong with a text, or None."""

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
        """Lay out the input."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield Input(self._value)
            yield Static("", classes="dialog-error", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Return the text if it is valid."""
        text = event.value.strip()
        wrong = self._check(text) if self._check else None
        if wrong is None and text:
            self.dismiss(text)
        else:
            self.query_one(".dialog-error", Static).update(wrong or "")
