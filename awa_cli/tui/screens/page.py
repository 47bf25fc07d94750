"""The base of every page: it reads its data again and again, and has the frame around it.

A page is a screen that the navigation opens; other screens are dialogs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from textual import work
from textual.binding import Binding
from textual.containers import Container
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import Footer

from awa_cli.feed import Feed
from awa_cli.tui.widgets.bars import Banner, NavigationBar, StatusBar
from awa_lib.errors import AwaError, Unavailable

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.dom import DOMNode

    from awa_cli.feed import Reading
    from awa_cli.tui.history import Visit
    from awa_cli.tui.host import Host
    from awa_cli.tui.navigation import PageEntry
    from awa_lib._sql import Op

__all__ = ["Page"]

V = TypeVar("V")


class Page(Screen[None], Generic[V]):
    """A page.  A subclass defines ``query_op``, ``body`` and ``show``.

    ``ACTIONS`` maps an action method to the id of its action in ``views.actions``; the binding is
    hidden where the action is not allowed: ``{"pause": "queue.pause"}``.
    """

    app: Host
    ACTIONS: ClassVar[dict[str, str]] = {}

    def __init__(self, entry: PageEntry, visit: Visit) -> None:
        super().__init__()
        self.entry = entry
        self.visit = visit
        self.value: V | None = None
        self.error: AwaError | None = None
        """The error of the latest read."""
        self.feed: Feed[V] | None = None
        self._parts: list[DOMNode] = [self]
        self._offered: list[str] = []
        self._counted = False

    # For subclasses

    def query_op(self) -> Op[V]:
        """Return the op that reads the data; called for each read."""
        raise NotImplementedError

    def body(self) -> ComposeResult:
        """Yield the widgets of the page."""
        raise NotImplementedError

    def show(self, value: V) -> None:
        """Show what was read, in place."""
        raise NotImplementedError

    def keep(self) -> dict[str, Any]:
        """Return the state that a later visit restores."""
        return {}

    @property
    def read_interval(self) -> float:
        """Return the seconds between two reads."""
        return self.app.interval

    @property
    def settled(self) -> bool:
        """Return True once everything that the first read brings is shown."""
        return self.value is not None and self._counted

    # The frame

    def compose(self) -> ComposeResult:
        """Put the bars around the body."""
        yield StatusBar(self.visit, id="status")
        yield NavigationBar(self.visit.path()[0].page_id, id="navigation")
        yield Banner(id="banner")
        with Container(id="body"):
            yield from self.body()
        yield Footer(compact=True, show_command_palette=False)

    def on_mount(self) -> None:
        """Show the data of the previous visit, and start to read."""
        self._parts = [self, *self.query("*")]
        self.query_one(Banner).show("")
        known = self.visit.state.get("value")
        if known is not None:
            self.value = known
            self.show(known)
        self.watch(self.app, "app_focus", self._focus_changed, init=False)
        self.reread()

    def reread(self) -> None:
        """Read now; a read that is under way is cancelled."""
        self.feed = Feed(self._read, self.read_interval)
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
                # Not a part of the read, whose cost sets the pause until the next.
                await self.app.source.read_badges()
                self.query_one(NavigationBar).draw()
                self._counted = True
        except NoMatches:
            if not self.leaving:
                raise

    @property
    def leaving(self) -> bool:
        """Return True while the page is being removed, widget by widget."""
        return not all(one.is_attached for one in self._parts)

    def _take(self, reading: Reading[V]) -> None:
        if reading.error is None:
            self.value = reading.value
            if reading.value is not None:
                self.show(reading.value)
        self.error = reading.error
        self._show_error(reading.error)
        self.query_one(StatusBar).draw()
        self.offer()

    def offer(self) -> None:
        """Update the footer if the set of allowed actions has changed."""
        offered = [
            one.action
            for one in self.BINDINGS
            if isinstance(one, Binding) and self.check_action(one.action, ())
        ]
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def _show_error(self, error: AwaError | None) -> None:
        """Show the error of a read; the previous data stays, dimmed."""
        self.set_class(error is not None, "-old")
        text = ""
        if isinstance(error, Unavailable):
            text = f"Lost the connection to the database: {error.why or error}.  Reconnecting."
        elif error is not None:
            text = ". ".join(part for part in (str(error), error.why, error.hint) if part)
        self.query_one(Banner).show(self.app.source.target.scrub(text))

    def _focus_changed(self, focus: bool) -> None:
        if self.feed is not None:
            if focus:
                self.feed.go_on()
            else:
                self.feed.hold()
        self.query_one(StatusBar).draw()

    def leave(self) -> None:
        """Stop reading, and keep the state for a later visit."""
        self.workers.cancel_group(self, "feed")
        self.visit.state.update(self.keep(), value=self.value)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide actions that are not allowed."""
        if (action_id := self.ACTIONS.get(action)) is not None and not self.app.may(action_id):
            return False
        return super().check_action(action, parameters)
