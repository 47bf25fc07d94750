"""What every screen is: data that is read again and again, and the lines around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from textual import work
from textual.binding import Binding
from textual.containers import Container
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Footer

from awa_cli.feed import Feed
from awa_cli.tui.widgets.bars import Banner, PlaceBar, StatusBar
from awa_lib.errors import AwaError, Unavailable

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.dom import DOMNode

    from awa_cli.feed import Reading
    from awa_cli.tui.app import Monitor
    from awa_cli.tui.history import Stop
    from awa_cli.tui.navigation import Place
    from awa_lib._sql import Op

__all__ = ["Page"]

V = TypeVar("V")


class Page(Screen[None], Generic[V]):
    """A screen.  A subclass says what to read, what it is made of, and how it shows a value.

    ``ACTIONS`` names the action of ``actions`` behind an action method, which is hidden where it
    may not be done: ``{"pause": "queue.pause"}``.
    """

    app: Monitor
    ACTIONS: ClassVar[dict[str, str]] = {}

    def __init__(self, place: Place, stop: Stop) -> None:
        super().__init__()
        self.place = place
        self.stop_here = stop
        self.value: V | None = None
        self.error: AwaError | None = None
        """What the latest look failed with."""
        self.feed: Feed[V] | None = None
        self._parts: list[DOMNode] = [self]
        self._offered: list[str] = []

    # For subclasses

    def query_op(self) -> Op[V]:
        """Return the read that fills this screen; made anew for each look."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """Yield what the screen is made of."""
        raise NotImplementedError

    def show(self, value: V) -> None:
        """Show what was read, in place."""
        raise NotImplementedError

    def keep(self) -> dict[str, Any]:
        """Return what a later visit should find again."""
        return {}

    @property
    def every(self) -> float:
        """Return the seconds between two looks."""
        return self.app.interval

    @property
    def settled(self) -> bool:
        """Return True once all that is read at first is shown."""
        return self.value is not None

    # The frame

    def compose(self) -> ComposeResult:
        """Put the lines around the body."""
        yield StatusBar(self.stop_here, id="status")
        yield PlaceBar(self.stop_here.line()[0].place, id="places")
        yield Banner(id="banner")
        with Container(id="body"):
            yield from self.body()
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Show what was known at the last visit, and begin to read."""
        self._parts = [self, *self.query("*")]
        self.query_one(Banner).say("")
        known = self.stop_here.memory.get("value")
        if known is not None:
            self.value = known
            self.show(known)
        self.watch(self.app, "app_focus", self._focus_changed, init=False)
        self.reread()

    def reread(self) -> None:
        """Read now.  A read under way is given up for it."""
        self.feed = Feed(self._read, self.every)
        self._follow(self.feed)

    def changed(self) -> None:
        """Show what a change did."""
        self.reread()

    async def _read(self) -> V:
        return await self.app.source.read(self.query_op())

    @work(exclusive=True, group="feed")
    async def _follow(self, feed: Feed[V]) -> None:
        if not self.app.app_focus and self.value is not None:
            feed.hold()
        try:
            async for reading in feed:
                self._take(reading)
        except NoMatches:
            if not self.leaving:
                raise

    @property
    def leaving(self) -> bool:
        """Return True while the screen is being taken away, widget by widget."""
        return not all(one.is_attached for one in self._parts)

    def _take(self, reading: Reading[V]) -> None:
        if reading.error is None:
            self.value = reading.value
            if reading.value is not None:
                self.show(reading.value)
        self.error = reading.error
        self.trouble(reading.error)
        self.query_one(StatusBar).draw()
        self.offer()

    def offer(self) -> None:
        """Offer what can be done now; the footer is built anew only when that has changed."""
        offered = [
            one.action
            for one in self.BINDINGS
            if isinstance(one, Binding) and self.check_action(one.action, ())
        ]
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def trouble(self, error: AwaError | None) -> None:
        """Say that the database is lost, or what else went wrong; the last data stays, greyed."""
        self.set_class(error is not None, "-old")
        text = ""
        if isinstance(error, Unavailable):
            text = f"The database is lost: {error.why or error}. Trying again."
        elif error is not None:
            text = ". ".join(part for part in (str(error), error.why, error.hint) if part)
        self.query_one(Banner).say(self.app.source.target.scrub(text))

    def _focus_changed(self, focus: bool) -> None:
        if self.feed is not None:
            if focus:
                self.feed.go_on()
            else:
                self.feed.hold()
        self.query_one(StatusBar).draw()

    def leave(self) -> None:
        """Keep what a later visit should find."""
        self.workers.cancel_group(self, "feed")
        self.stop_here.memory.update(self.keep(), value=self.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what may not be done here."""
        if (action_id := self.ACTIONS.get(action)) is not None and not self.app.may(action_id):
            return False
        return super().check_action(action, parameters)
