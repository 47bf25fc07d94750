"""The activity: transitions of jobs as they happen."""

from __future__ import annotations

from collections import Counter, deque
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.content import Content
from textual.widgets import Static

from awa_cli.filters.query import Read
from awa_cli.tui.screens.filtered_page import FilteredPage
from awa_cli.tui.widgets.charts import spark
from awa_cli.views.columns import Column
from awa_cli.views.states import STATE_STYLES, state_sign
from awa_cli.views.words import now
from awa_lib.reads.activity import Activity, Transition

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["ActivityPage"]

_INTERVAL: Final = 0.5
_MAX_TRANSITIONS: Final = 2_000
_FIRST_TRANSITIONS: Final = 200
_RATE_SECONDS: Final = 5
_CHART_SECONDS: Final = 30
_TENTHS_BELOW: Final = 10
_EVENTS: Final = ("created", "running", "completed", "retryable", "failed", "cancelled")


_COLUMNS: Final[tuple[Column[Transition], ...]] = (
    Column(
        "at",
        "AT",
        lambda one: one.at.astimezone().strftime("%H:%M:%S.%f")[:-3],
        style=lambda _: "bright_black",
    ),
    Column(
        "event",
        "EVENT",
        lambda one: one.event,
        style=lambda one: STATE_STYLES.get(one.event, "cyan"),
        state=lambda one: one.event,
    ),
    Column("id", "ID", lambda one: one.id, right=True),
    Column("kind", "KIND", lambda one: one.kind, width=12),
    Column("queue", "QUEUE", lambda one: one.queue, width=8),
    Column("att", "ATT", lambda one: one.attempt or "", right=True),
    Column("tags", "TAGS", lambda one: ",".join(one.tags), wide=True),
    Column("error", "ERROR", lambda one: one.error or "", width=1, style=lambda _: "red"),
)


class ActivityPage(FilteredPage[Transition]):
    """Transitions, newest first.  The list follows until the cursor moves; then it is held."""

    COLUMNS = _COLUMNS
    EMPTY = "No activity yet."
    READ = Read.ACTIVITY
    BINDINGS: ClassVar = [
        Binding("f", "follow", "Follow", id="activity.follow"),
        Binding("o", "queue", "Open queue", show=False, id="activity.queue"),
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._activity: Activity | None = None
        self._kept: deque[Transition] = deque(maxlen=_MAX_TRANSITIONS)
        self._restarted = False
        self._behind = False
        self._unseen = 0
        self._seconds: Counter[tuple[int, str]] = Counter()
        self._ahead = timedelta()
        self._query: JobQuery = {}

    @property
    def read_interval(self) -> float:
        """Read often: a read costs only what is new."""
        return min(self.app.interval, _INTERVAL)

    def query_op(self) -> Op[list[Transition]]:
        """Read new transitions.  After a read that failed, start again with the latest."""
        activity, self._activity = self._activity, None
        if activity is None:
            activity = Activity()
            yield from activity.begin()
            self._restarted = True
            found = yield from activity.recent(_FIRST_TRANSITIONS)
        else:
            found = yield from activity.step()
        self._activity = activity
        return found

    def reread(self) -> None:
        """Read now; a read under way is not cancelled, or its transitions would be lost."""
        if self.feed is None:
            super().reread()
        else:
            self.feed.hurry()

    def body(self) -> ComposeResult:
        """Yield the rates and the list."""
        yield Static(id="head")
        yield from super().body()

    def on_mount(self) -> None:
        """Follow the newest."""
        self.grid.sorts_itself = False
        self.grid.follow = True
        self._query = self.wanted

    def key(self, row: Transition) -> tuple[Any, ...]:
        """Return what identifies a transition."""
        return (row.id, row.event, row.attempt, row.at)

    def show(self, value: list[Transition]) -> None:
        """Add new transitions; while the list is held, count them only."""
        restarted, self._restarted = self._restarted, False
        if restarted:
            self._kept.clear()
            self._seconds.clear()
        elif value:
            # Rates use the clock of the database.
            self._ahead = value[-1].at - now()
        self._kept.extendleft(value)
        self._seconds.update((int(row.at.timestamp()), row.event) for row in value)
        if restarted or self.grid.follow or not self.grid.loaded:
            self._behind = True
        else:
            self._unseen += sum(map(self._matches, value))
        # Below a dialog each line would be painted twice, which makes the dialog slow.
        if self.app.screen is self or not self.grid.loaded:
            self._catch_up()
        if self._activity is not None and self._activity.more and self.feed is not None:
            self.feed.hurry()

    def on_screen_resume(self) -> None:
        """Show what was read while a dialog was open."""
        if self.grid.loaded:
            self._catch_up()

    def _catch_up(self) -> None:
        if self._behind:
            self._show_rows()
        self._show_head()

    def _show_rows(self) -> None:
        self._unseen, self._behind = 0, False
        self.grid.show([row for row in self._kept if self._matches(row)])

    def _matches(self, one: Transition) -> bool:
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
        for old in [key for key in self._seconds if key[0] < second - _CHART_SECONDS]:
            del self._seconds[old]
        bars: Counter[int] = Counter()
        totals: Counter[str] = Counter()
        for (at, event), count in self._seconds.items():
            bars[at] += count
            if second - _RATE_SECONDS <= at < second:
                totals[event] += count
        ascii_only = self.app.ascii_only
        drawn = min(_CHART_SECONDS, self.size.width // 4)
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
        """Show the transitions that match the new filter."""
        self._query = self.wanted
        self._show_rows()

    def on_grid_moved(self) -> None:
        """Show that the list is held."""
        super().on_grid_moved()
        self._show_head()

    def order_by(self, key: str) -> None:
        """Do nothing: transitions are sorted by time."""

    def action_follow(self) -> None:
        """Follow the newest, or hold the list."""
        self.grid.follow = not self.grid.follow
        if self.grid.follow:
            self._show_rows()
        self._show_head()

    def opened(self, row: Transition) -> None:
        """Open the job."""
        self.app.enter("job", row.id)

    def action_queue(self) -> None:
        """Open the queue of the job."""
        if (row := self.grid.row) is not None:
            self.app.enter("queue", row.queue)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the sort: transitions are sorted by time."""
        return False if action == "sort" else super().check_action(action, parameters)


def _rate(count: int) -> str:
    """Write a rate with two digits or more."""
    value = count / _RATE_SECONDS
    return f"{value:.1f}" if 0 < value < _TENTHS_BELOW else f"{value:,.0f}"
