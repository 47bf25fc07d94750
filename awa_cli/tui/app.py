"""The live monitor: one app, its places, and what they share."""

from __future__ import annotations

import gc
import os
import select
import sys
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import events, work
from textual.app import App
from textual.binding import Binding

from awa_cli.tui.history import Stop, Trail
from awa_cli.tui.keys import EVERYWHERE, check_keys, known_ids
from awa_cli.tui.navigation import PLACES
from awa_cli.tui.palette import Palette
from awa_cli.tui.saved_state import Memory
from awa_cli.tui.screens.page import Page
from awa_cli.tui.source import Source
from awa_cli.tui.theme import DARK, LIGHT, Paint, shades
from awa_cli.tui.widgets.confirm import Confirm
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_cli.database.target import Target
    from awa_cli.tui.changes.change import Deed

__all__ = ["Monitor"]

_MOST_UNDO: Final = 20
_TERMINAL_SECONDS: Final = 2.0
_COLLECT_SECONDS: Final = 60.0
_STILL_SECONDS: Final = 2.0
_SAID_SECONDS: Final = 3.0
_NEVER: Final = 1_000_000


class Monitor(App[int]):
    """``awa tui``.  Pages use its ``source``, ``go``, ``do``, ``paint`` and ``memory``."""

    TITLE = "awa"
    CSS_PATH = "app.tcss"
    COMMANDS = {Palette}  # noqa: RUF012 - as Textual declares it
    COMMAND_PALETTE_BINDING = "f2"
    BINDINGS: ClassVar = [*EVERYWHERE]
    HORIZONTAL_BREAKPOINTS = [(0, "-slim"), (60, "-narrow"), (100, "-wide")]  # noqa: RUF012 - as above
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (12, "-low"), (22, "-high")]  # noqa: RUF012 - as above

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
        others: Callable[[str], tuple[Target, str | None]] | None = None,
    ) -> None:
        super().__init__()
        self.source = Source(target, url, read_only=read_only)
        self.memory = Memory(target)
        self.interval = interval
        self.ascii_only = _ascii_terminal() if ascii_only is None else ascii_only
        self._typed = time.monotonic()
        self._said: dict[str, float] = {}
        self._read_only = read_only
        self._others = others
        self._undo: list[Callable[[], Deed]] = []
        self._paints: dict[str, Paint] = {}
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = self._first_theme(theme)
        self.set_class(self.ascii_only, "-ascii")
        if keys:
            check_keys(keys, known_ids())
            self.set_keymap(dict(keys))
        place = screen or str(self.memory.get("screen", "overview"))
        if place not in PLACES or PLACES[place].needs_subject:
            place = "overview"
        first = Stop(place)
        if filter_text is not None:
            first.memory["filter"] = filter_text
        self.trail = Trail(first)

    def _first_theme(self, given: str | None) -> str:
        for name in (given, self.memory.get("theme")):
            if name in self.available_themes:
                return str(name)
        return DARK.name

    def on_mount(self) -> None:
        """Open the first place."""
        few = not self.is_headless and self.console.color_system in {None, "standard"}
        self.set_class(few, "-few-colors")
        if not self.is_headless:
            self.set_interval(_TERMINAL_SECONDS, self._leave_with_the_terminal)
        self._open(self.trail.here)

    def on_ready(self) -> None:
        """Collect garbage in full only while nobody types: each time stops the screen for 100 ms.

        What is loaded by now is left out for good, which halves that.
        """
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], _NEVER)
        if not self.is_headless:
            self.set_interval(_COLLECT_SECONDS, self._collect)

    def _collect(self) -> None:
        if time.monotonic() - self._typed > _STILL_SECONDS:
            gc.collect()

    def _leave_with_the_terminal(self) -> None:
        """End when the terminal is gone; without a SIGHUP its end of input would spin for ever."""
        look = select.poll()
        look.register(sys.__stdin__.fileno() if sys.__stdin__ else 0, 0)
        if look.poll(0):  # POLLHUP and POLLERR are always told
            self.exit()

    async def on_event(self, event: events.Event) -> None:
        """Keep keys and clicks from a question that was only just asked."""
        given = isinstance(event, events.Key | events.Paste | events.MouseDown)
        if given:
            self._typed = time.monotonic()
        question = self.screen if given and not event.is_forwarded else None
        if isinstance(question, Confirm) and not question.hears(event):
            return
        await super().on_event(event)

    # Looks

    def get_css_variables(self) -> dict[str, str]:
        """Add two shades between text and ground, of any theme: Textual's own are not for spans."""
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
        """Return the colour of the context as a style of Textual's; empty without one."""
        context = self.source.target.context
        return f"ansi_{context.color}" if context is not None and context.color else ""

    def get_key_display(self, binding: Binding) -> str:
        """Return a key as the footer shows it, by its name where its sign cannot be shown."""
        shown = super().get_key_display(binding)
        return shown if shown.isascii() or not self.ascii_only else binding.key

    def key_of(self, binding_id: str, wanted: str = "") -> str:
        """Return the key that a binding of the app has now; the wanted one if it is among them."""
        for one in EVERYWHERE:
            if one.id == binding_id:
                keys = self._keymap.get(binding_id, one.key).split(",")
                key = wanted if wanted in keys else keys[0]
                return self.get_key_display(Binding(key, "", ""))
        return ""

    # Places

    @property
    def page(self) -> Page[Any] | None:
        """Return the page one is on, also below a dialog."""
        return next((one for one in reversed(self.screen_stack) if isinstance(one, Page)), None)

    def title_of(self, stop: Stop) -> str:
        """Return what a stop is called in the way here."""
        about = stop.subject or stop.memory.get("filter")
        return f"{PLACES[stop.place].title} {about or ''}".rstrip()

    def enter(self, place: str, subject: Any = None, **memory: Any) -> None:
        """Go into something from here: Esc leads back."""
        self._leave()
        self._open(self.trail.go(Stop(place, subject, self.trail.here, memory)))

    def action_go(self, place: str) -> None:
        """Go to a place as it was left."""
        if self.trail.here.place == place and self.trail.here.parent is None:
            return
        self._leave()
        self._open(self.trail.go(self._latest(place)))

    def _latest(self, place: str) -> Stop:
        """Return a new stop that finds again what the last one of the place knew."""
        return Stop(place, memory=dict(self._known.get(place, {})))

    @property
    def _known(self) -> dict[str, dict[str, Any]]:
        return {stop.place: stop.memory for stop in self.trail.stops if stop.parent is None}

    def action_out(self) -> None:
        """Go to where one came in from."""
        self._turn(self.trail.out)

    def action_out_to(self, number: int) -> None:
        """Go to a stop of the way here."""
        line = self.trail.here.line()
        if number < len(line) - 1:
            self._turn(lambda: self.trail.go(line[number]))

    async def action_back(self) -> None:
        """Go to the stop before."""
        self._turn(self.trail.back)

    def action_forward(self) -> None:
        """Go to the stop one went back from."""
        self._turn(self.trail.forward)

    def action_mark_place(self) -> None:
        """Give this place a letter."""
        from awa_cli.tui.widgets.dialogs import AskKey

        def marked(letter: str | None) -> None:
            if letter:
                self.trail.mark(letter)
                self.notify(f"Marked as {letter}: {self.title_of(self.trail.here)}", markup=False)

        self.push_screen(AskKey("Mark this place with a letter"), marked)

    def action_jump(self) -> None:
        """Go to a marked place."""
        from awa_cli.tui.widgets.dialogs import AskKey

        def jump(letter: str | None) -> None:
            if letter:
                self._turn(lambda: self.trail.jump(letter))

        known = [f"{letter}  {self.title_of(stop)}" for letter, stop in self.trail.marks.items()]
        self.push_screen(AskKey("Jump to a mark", known or ["none yet: m marks a place"]), jump)

    def _turn(self, move: Callable[[], Stop | None]) -> None:
        self._leave()
        if (stop := move()) is not None:
            self._open(stop)

    def _leave(self) -> None:
        if (page := self.page) is not None:
            page.leave()

    def _open(self, stop: Stop) -> None:
        page = PLACES[stop.place].open(stop)
        if stop.parent is None:
            self.memory.put("screen", stop.place)
        if isinstance(self.screen, Page):
            self.switch_screen(page)
        else:
            self.push_screen(page)

    # Changes

    def may(self, action_id: str) -> bool:
        """Say whether an action may be offered."""
        return self.source.allows(action_id)

    def do(self, deed: Deed, *, note: str = "") -> None:
        """Ask, change, say what was done, and read anew."""
        self._do(deed, note)

    @work(group="change", exit_on_error=False)
    async def _do(self, deed: Deed, note: str) -> None:
        if not await self.agreed(deed, note=note):
            return
        try:
            await self.source.change(deed.noted())
        except AwaError as error:
            self.complain(error)
        else:
            if deed.undo is not None:
                self._undo = [*self._undo, deed.undo][-_MOST_UNDO:]
            more = "; u undoes it" if deed.undo else ""
            self.notify(f"{deed.done}{more}", markup=False)
        if (page := self.page) is not None:
            page.changed()

    async def agreed(self, deed: Deed, *, note: str = "") -> bool:
        """Ask whether to do it; False at once where it may not be done."""
        if not self.may(deed.action_id):
            self.notify("Nothing is changed here.", severity="warning")
            return False
        if any(isinstance(one, Confirm) for one in self.screen_stack):
            return False
        context = self.source.target.context
        name = context.name if context is not None and context.protected else None
        return await self.push_screen_wait(Confirm(deed, protected=name, note=note))

    def action_undo(self) -> None:
        """Take the latest change back, if it can be."""
        if not self._undo:
            self.notify("Nothing to undo.")
            return
        self.do(self._undo.pop()())

    def notify(self, message: str, **options: Any) -> None:
        """Say something; what was said a moment ago is still to be seen."""
        if time.monotonic() - self._said.get(message, -_SAID_SECONDS) >= _SAID_SECONDS:
            self._said = {message: time.monotonic()}
            super().notify(message, **options)

    def complain(self, error: AwaError) -> None:
        """Say what went wrong, why, and what to do."""
        lines = [str(error), error.why or "", error.hint or ""]
        text = "\n".join(line for line in lines if line)
        self.notify(self.source.target.scrub(text), severity="error", timeout=8, markup=False)

    # The rest

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
                self.memory.put("theme", name)

        self.push_screen(Pick("Theme", [(name, name) for name in names], self.theme), chosen)

    def action_contexts(self) -> None:
        """Choose another database of the config file."""
        from awa_cli.tui.contexts import choose_context

        choose_context(self, self._others)

    async def look_at(self, target: Target, url: str | None) -> None:
        """Look at another database from now on."""
        old = self.source
        self._leave()
        self.source = Source(target, url, read_only=self._read_only)
        self.memory = Memory(target)
        self._undo.clear()
        self.trail = Trail(Stop(str(self.memory.get("screen", "overview"))))
        self._open(self.trail.here)
        await old.close()

    async def on_unmount(self) -> None:
        """Let the database go."""
        await self.source.close()


def _ascii_terminal() -> bool:
    """Say whether the terminal shows ASCII alone, as far as its environment tells.

    Python itself takes the C locale for UTF-8, so its word is not asked.
    """
    named = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    charset = next((value for value in named if value), "utf-8")
    simple = os.environ.get("TERM", "") in {"linux", "vt100", "vt220", "dumb"}
    return simple or "utf" not in charset.lower()
