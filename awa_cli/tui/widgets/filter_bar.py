"""The line of a list's filter, with completion."""

from __future__ import annotations

from os.path import commonprefix
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from awa_cli.filters.query import Read, fields_of
from awa_cli.filters.text import complete_filter, read_text
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult
    from textual.timer import Timer

__all__ = ["FilterBar"]

# Seconds after the last key until the filter is read.
_PAUSE: Final = 0.25
_MAX_HINTS: Final = 8


class FilterBar(Vertical):
    """Shows the filter.  While it is open, Tab completes, Enter keeps and Esc undoes."""

    BINDINGS: ClassVar = [
        Binding("tab", "complete", "Complete", show=False, priority=True, id="filter.complete"),
        Binding("escape", "cancel", "Cancel", show=False, priority=True, id="filter.cancel"),
    ]

    class Changed(Message):
        """The filter has changed, and is valid."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """The line was closed."""

    def __init__(self, text: str, read: Read, **options: Any) -> None:
        """Begin with a text; ``read`` decides which fields filter."""
        super().__init__(**options)
        self.text = text
        self._read = read
        self.names: Mapping[str, Sequence[str]] = {}
        self._before = text
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Yield the line, and its completions."""
        like = "state:failed kind:email since:2h"
        if self._read is not Read.JOBS:
            like = " ".join(f"{name}:…" for name in fields_of(self._read))
        yield Input(self.text, placeholder=like, id="filter-input")
        yield Static("", id="filter-hint", markup=False)

    def on_mount(self) -> None:
        """Close the line."""
        self.close()

    @property
    def is_open(self) -> bool:
        """Return True while the line has the focus."""
        return self.query_one(Input).has_focus

    def open(self) -> None:
        """Edit the filter."""
        self._before = self.text
        self.display = True
        line = self.query_one(Input)
        line.can_focus = True
        if line.value and not line.value.endswith(" "):
            line.value += " "
        line.cursor_position = len(line.value)
        line.focus()
        self._hint()

    def close(self) -> None:
        """Stop editing; the line stays if there is a filter."""
        self.query_one(Input).can_focus = False
        self.query_one(Input).value = self.text
        self.query_one("#filter-hint", Static).display = False
        self.display = bool(self.text)
        self.post_message(self.Closed())

    def put(self, text: str) -> None:
        """Set the filter."""
        self.text = text
        self.query_one(Input).value = text
        self.display = bool(text) or self.is_open
        self.post_message(self.Changed(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Read the filter after a pause."""
        event.stop()
        if not self.is_open:
            return
        self._hint()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_PAUSE, self._try)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter, if it is valid."""
        event.stop()
        if self._try(last=True):
            self.close()

    def _try(self, *, last: bool = False) -> bool:
        """Set the filter to the text, if it is valid; no error for a word that can be completed."""
        if not self.is_open:
            return False
        text = self.query_one(Input).value.strip()
        try:
            read_text(text, self._read)
        except InvalidInput as error:
            if last or not complete_filter(text, self.names, self._read):
                self._say(f"{error}; {error.hint}" if error.hint else str(error), wrong=True)
            return False
        if text != self.text:
            self.text = text
            self.post_message(self.Changed(text))
        return True

    def action_complete(self) -> None:
        """Complete the text up to the next choice."""
        line = self.query_one(Input)
        if found := complete_filter(line.value, self.names, self._read):
            longest = commonprefix(found)  # noqa: RUF071 - of texts, not of paths
            line.value = longest if len(longest) > len(line.value) else found[0]
            line.cursor_position = len(line.value)

    def action_cancel(self) -> None:
        """Restore the filter from before the edit."""
        if self.text != self._before:
            self.text = self._before
            self.post_message(self.Changed(self.text))
        self.close()

    def _hint(self) -> None:
        value = self.query_one(Input).value
        found = complete_filter(value, self.names, self._read)[:_MAX_HINTS]
        start = value.rfind(" ") + 1
        self._say("  ".join(one[start:] for one in found))

    def _say(self, text: str, *, wrong: bool = False) -> None:
        hint = self.query_one("#filter-hint", Static)
        hint.display = self.is_open
        hint.set_class(wrong, "-wrong")
        hint.update(text)
