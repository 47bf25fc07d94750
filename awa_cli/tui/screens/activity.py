"""Activity: what happens to jobs, as it happens."""

from __future__ import annotations

from collections import Counter, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from awa_cli.filters.query import Read
from awa_cli.terminal.output import now
from awa_cli.tui.screens.filtered_page import FilteredPage
from awa_cli.tui.widgets.chart import spark
from awa_cli.views.columns import STATE_STYLES, Column, state_sign
from awa_lib.reads.activity import Activity, Transition

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["ActivityPage"]

_EVERY: Final = 0.5
# So many are kept; older ones are found among the jobs.
_MOST: Final = 2_000
_RECENT: Final = 200
# Rates are told over so many seconds, and drawn over so many.
_RATE: Final = 5
_DRAWN: Final = 30
_EVENTS: Final = ("created", "running", "completed", "retryable", "failed", "cancelled")


_COLUMNS: Final[tuple[Column[Transition], ...]] = (
    Column(
        "AT",
        lambda one: one.at.astimezone().strftime("%H:%M:%S.%f")[:-3],
        style=lambda _: "bright_black",
    ),
    Column(
        "EVENT",
        lambda one: one.event,
        style=lambda one: STATE_STYLES.get(one.event, "cyan"),
        state=lambda one: one.event,
    ),
    Column("ID", lambda one: one.id, right=True),
    Column("KIND", lambda one: one.kind, width=12),
    Column("QUEUE", lambda one: one.queue, width=8),
    Column("ATT", lambda one: one.attempt or "", right=True),
    Column("TAGS", lambda one: ",".join(one.tags), wide=True),
    Column("ERROR", lambda one: one.error or "", width=1, style=lambda _: "red"),
)


class ActivityPage(FilteredPage[Transition]):
    """Transitions, newest first.  Followed until the cursor moves; then held, to be read."""

    COLUMNS = _COLUMNS
    EMPTY = "Nothing has happened yet."
    READ = Read.ACTIVITY
    BINDINGS: ClassVar = [
        Binding("f", "follow", "Follow", id="activity.follow"),
        Binding("o", "queue", "Its queue", show=False, id="activity.queue"),
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._activity: Activity | None = None
        self._kept: deque[Transition] = deque(maxlen=_MOST)
        self._anew = False
        self._behind = False
        self._unseen = 0
        self._seconds: Counter[tuple[int, str]] = Counter()
        self._ahead = timedelta()
        self._query: JobQuery = {}

    @property
    def every(self) -> float:
        """Look often: each look costs what has happened."""
        return min(self.app.interval, _EVERY)

    def query_op(self) -> Op[list[Transition]]:
        """Read what is new.  After a read that failed half-way it begins anew."""
        activity, self._activity = self._activity, None
        if activity is None:
            activity = Activity()
            yield from activity.begin()
            self._anew = True
            found = yield from activity.recent(_RECENT)
        else:
            found = yield from activity.step()
        self._activity = activity
        return found

    def reread(self) -> None:
        """Look now; a look that is under way is not given up, or what it found would be lost."""
        if self.feed is None:
            super().reread()
        else:
            self.feed.hurry()

    def body(self) -> ComposeResult:
        """Yield the rates above the list."""
        yield Static(id="head")
        yield from super().body()

    def on_mount(self) -> None:
        """Begin with the newest."""
        self.grid.sorts_itself = False
        self.grid.follow = True
        self._query = self.wanted

    def key(self, row: Transition) -> tuple[Any, ...]:
        """Return what tells transitions apart."""
        return (row.id, row.event, row.attempt, row.at)

    def show(self, value: list[Transition]) -> None:
        """Add what is new; a list that is held says how much it has not shown."""
        anew, self._anew = self._anew, False
        if anew:
            self._kept.clear()
            self._seconds.clear()
        elif value:
            # The clock of the database, which rates are told by.
            self._ahead = value[-1].at - now()
        self._kept.extendleft(value)
        self._seconds.update((int(row.at.timestamp()), row.event) for row in value)
        if anew or self.grid.follow or not self.grid.loaded:
            self._behind = True
        else:
            self._unseen += sum(map(self._fits, value))
        # Under a dialog every line would be painted twice, and the dialog would feel slow.
        if self.app.screen is self or not self.grid.loaded:
            self._catch_up()
        if self._activity is not None and self._activity.more and self.feed is not None:
            self.feed.hurry()

    def on_screen_resume(self) -> None:
        """Show what has come in under a dialog."""
        if self.grid.loaded:
            self._catch_up()

    def _catch_up(self) -> None:
        if self._behind:
            self._show_rows()
        self._show_head()

    def _show_rows(self) -> None:
        self._unseen, self._behind = 0, False
        self.grid.show([row for row in self._kept if self._fits(row)])

    def _fits(self, one: Transition) -> bool:
        query = self._query
        states, error = query.get("states"), query.get("error")
        return (
            (not states or one.event in states)
            and query.get("kind") in (None, one.kind)
            and query.get("queue") in (None, one.queue)
            and (query.get("tag") is None or query.get("tag") in one.tags)
            and (error is None or error.lower() in (one.error or "").lower())
        )

    def _show_head(self) -> None:
        second = int((now() + self._ahead).timestamp())
        for old in [key for key in self._seconds if key[0] < second - _DRAWN]:
            del self._seconds[old]
        bars: Counter[int] = Counter()
        totals: Counter[str] = Counter()
        for (at, event), count in self._seconds.items():
            bars[at] += count
            if second - _RATE <= at < second:
                totals[event] += count
        ascii_only = self.app.ascii_only
        drawn = min(_DRAWN, self.size.width // 4)
        line = [float(bars[at]) for at in range(second - drawn, second)]
        parts: list[Any] = [
            (spark(line, ascii_only=ascii_only), "$text-accent"),
            (f" {_rate(totals.total())}/s", "bold"),
        ]
        for event in _EVENTS:
            if totals[event]:
                style = self.app.paint.css(STATE_STYLES.get(event, "cyan"))
                sign = state_sign(event, ascii_only=ascii_only)
                parts += ["  ", (f"{sign} {_rate(totals[event])}", style)]
        if not self.grid.follow:
            parts.append((f"   held, {self._unseen:,} new", "bold $text-warning"))
        self.query_one("#head", Static).update(Content.assemble(*parts))

    def filtered(self) -> None:
        """Show what fits of what is kept."""
        self._query = self.wanted
        self._show_rows()

    def on_grid_moved(self) -> None:
        """Say that the list is held."""
        super().on_grid_moved()
        self._show_head()

    def order_by(self, title: str) -> None:
        """Keep the order of time."""

    def action_follow(self) -> None:
        """Go on with the newest, or hold the list."""
        self.grid.follow = not self.grid.follow
        if self.grid.follow:
            self._show_rows()
        self._show_head()

    def opened(self, row: Transition) -> None:
        """Go into the job."""
        self.app.enter("job", row.id)

    def action_queue(self) -> None:
        """Go into the queue of the job."""
        if (row := self.grid.row) is not None:
            self.app.enter("queue", row.queue)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer no other order than that of time."""
        return False if action == "sort" else super().check_action(action, parameters)


def _rate(count: int) -> str:
    value = count / _RATE
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.1f}"  # noqa: PLR2004 - two digits say enough
