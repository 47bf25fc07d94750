"""A line that says which jobs are shown, with completion."""

from __future__ import annotations

from os.path import commonprefix
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from awa_cli.filters.text import complete_filter, read_filter, read_limited
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from textual.app import ComposeResult
    from textual.timer import Timer

    from awa_lib.reads.jobs import JobQuery

__all__ = ["FilterBar"]

# A filter is tried when nothing was typed for so long.
_PAUSE: Final = 0.25
_SHOWN: Final = 8


class FilterBar(Vertical):
    """Shows the filter; open it takes another: Tab completes, Enter keeps, Esc undoes."""

    BINDINGS: ClassVar = [
        Binding("tab", "complete", "Complete", show=False, priority=True, id="filter.complete"),
        Binding("escape", "cancel", "Cancel", show=False, priority=True, id="filter.cancel"),
    ]

    class Changed(Message):
        """The filter is another one, and can be read."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class Closed(Message):
        """Nothing more is typed."""

    def __init__(self, text: str, fields: Sequence[str] | None = None, **options: Any) -> None:
        """Begin with a text; ``fields`` are those that may be used, all for None."""
        super().__init__(**options)
        self.text = text
        self._fields = fields
        self.names: Mapping[str, Sequence[str]] = {}
        self._before = text
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Yield the line, and what it may go on to."""
        like = "state:failed kind:email since:2h"
        if self._fields is not None:
            like = " ".join(f"{name}:…" for name in self._fields)
        yield Input(self.text, placeholder=like, id="filter-input")
        yield Static("", id="filter-hint", markup=False)

    def on_mount(self) -> None:
        """Begin closed."""
        self.close()

    @property
    def is_open(self) -> bool:
        """Return True while something is typed."""
        return self.query_one(Input).has_focus

    def read(self, text: str) -> JobQuery:
        """Read a filter.  Raises InvalidInput."""
        return read_filter(text) if self._fields is None else read_limited(text, self._fields)

    def open(self) -> None:
        """Take another filter."""
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
        """Show the filter, if there is one."""
        self.query_one(Input).can_focus = False
        self.query_one(Input).value = self.text
        self.query_one("#filter-hint", Static).display = False
        self.display = bool(self.text)
        self.post_message(self.Closed())

    def put(self, text: str) -> None:
        """Take a filter that was not typed."""
        self.text = text
        self.query_one(Input).value = text
        self.display = bool(text) or self.is_open
        self.post_message(self.Changed(text))

    def on_input_changed(self, event: Input.Changed) -> None:
        """Try the filter after a pause."""
        event.stop()
        if not self.is_open:
            return
        self._hint()
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(_PAUSE, self._try)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter, if it can be read."""
        event.stop()
        if self._try(last=True):
            self.close()

    def _try(self, *, last: bool = False) -> bool:
        """Take what was typed, if it can be read; a word that may go on is not wrong yet."""
        if not self.is_open:
            return False
        text = self.query_one(Input).value.strip()
        try:
            self.read(text)
        except InvalidInput as error:
            if last or not complete_filter(text, self.names, self._fields):
                self._say(f"{error}; {error.hint}" if error.hint else str(error), wrong=True)
            return False
        if text != self.text:
            self.text = text
            self.post_message(self.Changed(text))
        return True

    def action_complete(self) -> None:
        """Go on as far as there is one way."""
        line = self.query_one(Input)
        if found := complete_filter(line.value, self.names, self._fields):
            longest = commonprefix(found)  # noqa: RUF071 - of texts, not of paths
            line.value = longest if len(longest) > len(line.value) else found[0]
            line.cursor_position = len(line.value)

    def action_cancel(self) -> None:
        """Go back to the filter before."""
        if self.text != self._before:
            self.text = self._before
            self.post_message(self.Changed(self.text))
        self.close()

    def _hint(self) -> None:
        value = self.query_one(Input).value
        found = complete_filter(value, self.names, self._fields)[:_SHOWN]
        start = value.rfind(" ") + 1
        self._say("  ".join(one[start:] for one in found))

    def _say(self, text: str, *, wrong: bool = False) -> None:
        hint = self.query_one("#filter-hint", Static)
        hint.display = self.is_open
        hint.set_class(wrong, "-wrong")
        hint.update(text)
