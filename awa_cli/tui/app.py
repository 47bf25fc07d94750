"""The live monitor: ``awa tui``."""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import events

from awa_cli.tui.history import History, Visit
from awa_cli.tui.host import Host
from awa_cli.tui.keys import APP_BINDINGS, check_keys, known_ids
from awa_cli.tui.navigation import PAGES
from awa_cli.tui.palette import Palette
from awa_cli.tui.screens import load_page
from awa_cli.tui.screens.page import Page
from awa_cli.tui.theme import DARK, LIGHT
from awa_cli.tui.widgets.confirm import Confirm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_cli.database.target import Target

__all__ = ["Monitor"]

_TERMINAL_CHECK_SECONDS: Final = 2.0
_COLLECT_SECONDS: Final = 60.0
# Garbage is collected only when no key was pressed for this long.
_IDLE_SECONDS: Final = 2.0
_NEVER: Final = 1_000_000


class Monitor(Host):
    """The app: keys, navigation between pages, and the start and end of the program."""

    TITLE = "awa"
    CSS_PATH = "app.tcss"
    COMMANDS = {Palette}  # noqa: RUF012 - as Textual declares it
    COMMAND_PALETTE_BINDING = "f2"
    BINDINGS: ClassVar = [*APP_BINDINGS]

    def __init__(
        self,
        target: Target,
        url: str | None = None,
        *,
        screen: str | None = None,
        filter_text: str | None = None,
        read_only: bool = False,
        theme: str | None = None,
        interval: float = 2.0,
        keys: Mapping[str, str] | None = None,
        ascii_only: bool | None = None,
        find_context: Callable[[str], tuple[Target, str | None]] | None = None,
    ) -> None:
        super().__init__(
            target,
            url,
            read_only=read_only,
            interval=interval,
            ascii_only=_ascii_terminal() if ascii_only is None else ascii_only,
        )
        self._leaving = False
        self._pressed_at = time.monotonic()
        self._find_context = find_context
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = self._first_theme(theme)
        self.set_class(self.ascii_only, "-ascii")
        if keys:
            check_keys(keys, known_ids())
            self.set_keymap(dict(keys))
        first = self._first_visit(screen)
        if filter_text is not None:
            first.state["filter"] = filter_text
        self.history = History(first)

    def _first_theme(self, wanted: str | None) -> str:
        for name in (wanted, self.saved_state.get("theme")):
            if name in self.available_themes:
                return str(name)
        return DARK.name

    def _first_visit(self, wanted: str | None = None) -> Visit:
        page_id = wanted or str(self.saved_state.get("screen"))
        if page_id not in PAGES or PAGES[page_id].needs_subject:
            page_id = "overview"
        return Visit(page_id)

    # Start and end

    def on_mount(self) -> None:
        """Open the first page."""
        few = not self.is_headless and self.console.color_system in {None, "standard"}
        self.set_class(few, "-few-colors")
        if not self.is_headless:
            self.set_interval(_TERMINAL_CHECK_SECONDS, self._exit_without_terminal)
        self._open(self.history.current)

    def on_ready(self) -> None:
        """Run full garbage collections only while no key is pressed: each takes 100 ms.

        Objects that exist by now are excluded for good, which halves that time.
        """
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], _NEVER)
        if not self.is_headless:
            self.set_interval(_COLLECT_SECONDS, self._collect)

    def _collect(self) -> None:
        if time.monotonic() - self._pressed_at > _IDLE_SECONDS:
            gc.collect()

    def _exit_without_terminal(self) -> None:
        """Exit once the terminal is closed: without a SIGHUP, reading its end would never stop."""
        poll = select.poll()
        poll.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        if poll.poll(0):  # POLLHUP and POLLERR are reported whatever the mask
            self.exit()

    def exit(self, *args: Any, **options: Any) -> None:
        """Exit the app."""
        self._leaving = True
        super().exit(*args, **options)

    def _handle_exception(self, error: Exception) -> None:
        # A page that opens while the app exits may find itself half made.
        if not self._leaving:
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        # Textual would print a traceback with local variables: data of jobs.
        self._close_messages_no_wait()

    @property
    def fault(self) -> Exception | None:
        """Return the exception that ended the app."""
        return self._exception

    async def on_event(self, event: events.Event) -> None:
        """Drop keys and clicks that were made before a confirmation appeared."""
        is_input = isinstance(event, events.Key | events.Paste | events.MouseDown)
        if is_input:
            self._pressed_at = time.monotonic()
        dialog = self.screen if is_input and not event.is_forwarded else None
        if isinstance(dialog, Confirm) and not dialog.accepts(event):
            return
        await super().on_event(event)

    async def on_unmount(self) -> None:
        """Close the connection."""
        await self.source.close()

    # Navigation

    @property
    def page(self) -> Page[Any] | None:
        """Return the current page, also while a dialog covers it."""
        pages = (screen for screen in reversed(self.screen_stack) if isinstance(screen, Page))
        return next(pages, None)

    def show_change(self) -> None:
        """Have the current page show what a change did."""
        if (page := self.page) is not None:
            page.changed()

    def enter(self, page_id: str, subject: Any = None, **state: Any) -> None:
        """Open a page from the current one; Esc leads back."""
        self._leave()
        self._open(self.history.go(Visit(page_id, subject, self.history.current, state)))

    def action_go(self, page_id: str) -> None:
        """Open a page as it was left."""
        current = self.history.current
        if current.page_id == page_id and current.parent is None:
            return
        self._leave()
        self._open(self.history.go(Visit(page_id, state=dict(self._latest_state(page_id)))))

    def _latest_state(self, page_id: str) -> dict[str, Any]:
        """Return the state of the latest visit that was not entered from another page."""
        visits = (visit for visit in reversed(self.history.visits) if visit.parent is None)
        return next((visit.state for visit in visits if visit.page_id == page_id), {})

    def action_out(self) -> None:
        """Go back to the page from which the current one was entered."""
        self._move(self.history.out)

    def action_out_to(self, number: int) -> None:
        """Go back to a page of the path in the status bar."""
        path = self.history.current.path()
        if number < len(path) - 1:
            self._move(lambda: self.history.go(path[number]))

    async def action_back(self) -> None:
        """Go to the previous page of the history."""
        self._move(self.history.back)

    def action_forward(self) -> None:
        """Go to the next page of the history."""
        self._move(self.history.forward)

    def action_mark_page(self) -> None:
        """Mark the current page with a letter."""
        from awa_cli.tui.widgets.dialogs import AskKey

        def mark(letter: str | None) -> None:
            if letter:
                self.history.mark(letter)
                self.notify(f"Mark {letter}: {self.history.current.title}", markup=False)

        self.push_screen(AskKey("Press a letter to mark this screen"), mark)

    def action_jump(self) -> None:
        """Go to a marked page."""
        from awa_cli.tui.widgets.dialogs import AskKey

        def jump(letter: str | None) -> None:
            if letter:
                self._move(lambda: self.history.jump(letter))

        marks = [f"{letter}  {visit.title}" for letter, visit in self.history.marks.items()]
        self.push_screen(
            AskKey("Press the letter of a mark", marks or ["No marks yet: press m to set one."]),
            jump,
        )

    def _move(self, move: Callable[[], Visit | None]) -> None:
        self._leave()
        if (visit := move()) is not None:
            self._open(visit)

    def _leave(self) -> None:
        if (page := self.page) is not None:
            page.leave()

    def _open(self, visit: Visit) -> None:
        page = load_page(PAGES[visit.page_id], visit)
        if visit.parent is None:
            self.saved_state.put("screen", visit.page_id)
        if isinstance(self.screen, Page):
            self.switch_screen(page)
        else:
            self.push_screen(page)

    # Other keys

    def action_reread(self) -> None:
        """Read now."""
        if (page := self.page) is not None:
            page.reread()

    def action_help(self) -> None:
        """Show the keys that work here."""
        from awa_cli.tui.screens.help import HelpScreen

        self.push_screen(HelpScreen(self.screen.active_bindings))

    def action_themes(self) -> None:
        """Choose a theme."""
        from awa_cli.tui.widgets.dialogs import Pick

        names = sorted(self.available_themes, key=lambda name: (not name.startswith("awa"), name))

        def chosen(name: str | None) -> None:
            if name is not None:
                self.theme = name
                self.saved_state.put("theme", name)

        self.push_screen(Pick("Theme", [(name, name) for name in names], self.theme), chosen)

    def action_contexts(self) -> None:
        """Choose another database of the config file."""
        from awa_cli.tui.contexts import choose_context

        choose_context(self, self._find_context, self.open_database)

    async def open_database(self, target: Target, url: str | None) -> None:
        """Show another database from now on."""
        old = self.source
        self._leave()
        self.connect(target, url)
        self.history = History(self._first_visit())
        self._open(self.history.current)
        await old.close()


def _ascii_terminal() -> bool:
    """Return True if the environment says that the terminal shows ASCII alone.

    Python itself treats the C locale as UTF-8, so its encodings are not asked.
    """
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    charset = next((value for value in named if value), "utf-8")
    simple = os.environ.get("TERM", "") in {"linux", "vt100", "vt220", "dumb"}
    return simple or "utf" not in charset.lower()
