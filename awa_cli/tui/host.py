"""What pages, dialogs and widgets use of the app: its database, saved state, colours, changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from textual import work
from textual.app import App
from textual.binding import Binding

from awa_cli.tui.keys import APP_BINDINGS
from awa_cli.tui.saved_state import SavedState
from awa_cli.tui.source import Source
from awa_cli.tui.theme import Paint, shades
from awa_cli.tui.widgets.confirm import Confirm
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.database.target import Target
    from awa_cli.tui.changes.change import Change

__all__ = ["Host"]

_WIDE_COLUMNS: Final = 100
_MAX_UNDO: Final = 20
# For this long after a notification the same text is not shown again.
_REPEAT_SECONDS: Final = 3.0


class Host(App[int]):
    """The part of the app that pages and widgets know; ``Monitor`` adds keys and navigation."""

    # CSS classes by columns and by lines.
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (60, "-narrow"), (_WIDE_COLUMNS, "-wide")]  # noqa: RUF012 - as Textual declares it
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (12, "-low"), (22, "-high")]  # noqa: RUF012 - as above

    def __init__(
        self,
        target: Target,
        url: str | None,
        *,
        read_only: bool,
        interval: float,
        ascii_only: bool,
    ) -> None:
        super().__init__()
        self.interval = interval
        self.ascii_only = ascii_only
        self._read_only = read_only
        self._notified: dict[str, float] = {}
        self._paints: dict[str, Paint] = {}
        self.connect(target, url)

    def connect(self, target: Target, url: str | None) -> None:
        """Use this database from now on."""
        self.source = Source(target, url, read_only=self._read_only)
        self.saved_state = SavedState(target)
        self._undo: list[Callable[[], Change]] = []

    # Navigation

    def enter(self, page_id: str, subject: Any = None, **state: Any) -> None:
        """Open a page from the current one; Esc leads back."""
        raise NotImplementedError

    def action_go(self, page_id: str) -> None:
        """Open a page as it was left."""
        raise NotImplementedError

    def action_out(self) -> None:
        """Go back to the page from which the current one was entered."""
        raise NotImplementedError

    def show_change(self) -> None:
        """Have the current page show what a change did."""
        raise NotImplementedError

    # Appearance

    @property
    def is_wide(self) -> bool:
        """Return True if the terminal is wide; the CSS class ``-wide`` is set after a resize."""
        return self.size.width >= _WIDE_COLUMNS

    def get_css_variables(self) -> dict[str, str]:
        """Add the colours ``quiet`` and ``faint``, for parts of a line."""
        variables = super().get_css_variables()
        variables |= shades(variables)
        return variables

    @property
    def paint(self) -> Paint:
        """Return what turns a style of ``columns`` into the colours of the theme."""
        if self.theme not in self._paints:
            self._paints[self.theme] = Paint(self.theme_variables)
        return self._paints[self.theme]

    @property
    def context_color(self) -> str:
        """Return the colour of the context as a Textual style; empty without a context."""
        context = self.source.target.context
        return f"ansi_{context.color}" if context is not None and context.color else ""

    def get_key_display(self, binding: Binding) -> str:
        """Return the key as the footer shows it: its name where the terminal lacks its sign."""
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.ascii_only else binding.key

    def key_of(self, binding_id: str, preferred: str = "") -> str:
        """Return the preferred key of an app binding if it is bound, else the first."""
        for binding in APP_BINDINGS:
            if binding.id == binding_id:
                keys = self._keymap.get(binding_id, binding.key).split(",")
                key = preferred if preferred in keys else keys[0]
                return self.get_key_display(Binding(key, "", ""))
        return ""

    # Changes

    def may(self, action_id: str) -> bool:
        """Return True if an action may be offered."""
        return self.source.allows(action_id)

    @work(group="change", exit_on_error=False)
    async def apply(self, change: Change, *, note: str = "") -> None:
        """Ask for confirmation, make a change, report it, and read again."""
        if not await self.confirmed(change, note=note):
            return
        try:
            await self.source.change(change.recorded())
        except AwaError as error:
            self.show_error(error)
        else:
            if change.undo is not None:
                self._undo = [*self._undo, change.undo][-_MAX_UNDO:]
            more = "; press u to undo" if change.undo else ""
            self.notify(f"{change.done}{more}", markup=False)
        self.show_change()

    async def confirmed(self, change: Change, *, note: str = "") -> bool:
        """Ask whether to make a change; return False at once where it is not allowed."""
        if not self.may(change.action_id):
            self.notify("This change is not allowed here.", severity="warning")
            return False
        if any(isinstance(screen, Confirm) for screen in self.screen_stack):
            return False
        context = self.source.target.context
        name = context.name if context is not None and context.protected else None
        return await self.push_screen_wait(Confirm(change, protected=name, note=note))

    def action_undo(self) -> None:
        """Undo the latest change that can be undone."""
        if not self._undo:
            self.notify("Nothing to undo.")
            return
        self.apply(self._undo.pop()())

    # Messages

    def notify(self, message: str, **options: Any) -> None:
        """Show a notification, unless the same text was shown a moment ago."""
        if time.monotonic() - self._notified.get(message, -_REPEAT_SECONDS) >= _REPEAT_SECONDS:
            self._notified = {message: time.monotonic()}
            super().notify(message, **options)

    def show_error(self, error: AwaError) -> None:
        """Show what happened, why, and what to do next."""
        lines = [str(error), error.why or "", error.hint or ""]
        text = "\n".join(line for line in lines if line)
        self.notify(self.source.target.scrub(text), severity="error", timeout=8, markup=False)
