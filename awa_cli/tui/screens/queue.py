"""One queue: its jobs, rates, workers, settings and latest failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from awa_cli.filters.text import add_word
from awa_cli.tui.changes import queues as changes
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.charts import SeriesCharts
from awa_cli.tui.widgets.grid import Grid
from awa_cli.tui.widgets.tile import StateTile
from awa_cli.views.columns import QUEUE_WORKERS
from awa_cli.views.facts import policy_facts
from awa_cli.views.job_columns import FAILURES
from awa_cli.views.series import WINDOWS, Series
from awa_cli.views.words import clean, now, span
from awa_lib.reads.overviews import QueueDetails, queue_details
from awa_lib.reads.statistics import latest_failures
from awa_lib.states import COUNTED

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op
    from awa_lib.reads.statistics import Failure

__all__ = ["QueueData", "QueuePage"]

_MAX_FAILURES: Final = 20
_NO_SETTINGS: Final = "the defaults of each worker"


@dataclass(frozen=True, slots=True)
class QueueData:
    """The data of the page."""

    details: QueueDetails
    failures: list[Failure]


class QueuePage(Page[QueueData]):
    """A queue; the subject of the visit is its name."""

    ACTIONS: ClassVar = {"pause": "queue.pause", "cancel_waiting": "queue.cancel-waiting"}
    BINDINGS: ClassVar = [
        Binding("p", "pause", "Pause or resume", id="queue.pause"),
        Binding("x", "cancel_waiting", "Cancel waiting", id="queue.cancel-waiting"),
        Binding(
            "w",
            "window",
            "Time range",
            id="queue.window",
            tooltip="Show a longer or shorter time in the charts",
        ),
        Binding("e", "jobs", "Show jobs", id="queue.jobs"),
    ]

    @property
    def queue(self) -> str:
        """Return the name."""
        return str(self.visit.subject)

    @property
    def series(self) -> Series:
        """Return the data of the charts, which is kept between visits."""
        if "series" not in self.visit.state:
            wanted = self.app.saved_state.get("window")
            window = next((one for one in WINDOWS if one.name == wanted), WINDOWS[0])
            self.visit.state["series"] = Series(window, self.queue)
        series: Series = self.visit.state["series"]
        return series

    def query_op(self) -> Op[QueueData]:
        """Read the queue, its latest failures, and the data of the charts."""
        details = yield from queue_details(self.queue)
        failures = yield from latest_failures(_MAX_FAILURES, queue=self.queue)
        if self.value is not None:
            yield from self.series.read(now())
        return QueueData(details, failures)

    @property
    def settled(self) -> bool:
        """Return True once the charts are drawn."""
        return self.series.begun

    def body(self) -> ComposeResult:
        """Yield tiles, charts, settings and tables."""
        yield Static(id="queue-head")
        with Container(id="tiles"):
            for state in COUNTED:
                yield StateTile(state, id=f"tile-{state}")
        yield SeriesCharts(id="charts")
        yield Static(id="queue-settings")
        with Horizontal(id="tables"):
            with Vertical():
                yield Static("Workers", classes="title")
                yield Grid(QUEUE_WORKERS, lambda one: one[0], empty="No workers.", id="workers")
            with Vertical():
                yield Static("Latest failures", classes="title")
                yield Grid(FAILURES, lambda one: one.id, empty="No failed jobs.", id="failures")

    def show(self, value: QueueData) -> None:
        """Show the queue, in place."""
        if not self.series.begun and self.feed is not None:
            self.feed.hurry()
        stat = value.details.overview
        for state in COUNTED:
            self.query_one(f"#tile-{state}", StateTile).show(getattr(stat, state))
        self.series.note_lag(stat.lag_seconds or 0.0)
        self.query_one(SeriesCharts).show(self.series)
        self._show_head(value.details)
        workers = [
            (f"{one.hostname or ''}:{one.pid}", one.version, work)
            for one in value.details.workers
            for work in one.queues
            if work.get("queue") == self.queue
        ]
        self.query_one("#workers", Grid).show(workers)
        self.query_one("#failures", Grid).show(value.failures)

    def _show_head(self, details: QueueDetails) -> None:
        stat = details.overview
        sign = {True: "||", False: ">"} if self.app.ascii_only else {True: "‖", False: "▶"}
        state = ("paused", "bold $text-warning") if stat.paused else ("open", "$text-success")
        parts: list[Content | str | tuple[str, str]] = [
            (f"{sign[stat.paused]} ", state[1]),
            state,
            ("  lag ", "$quiet"),
            span(stat.lag_seconds) if stat.lag_seconds else "none",
            ("  last hour ", "$quiet"),
            f"{stat.completed_last_hour:,} completed",
        ]
        if details.dead_letters:
            parts += [("  dead letters ", "$quiet"), f"{details.dead_letters:,}"]
        if stat.description or stat.owner:
            about = " · ".join(clean(one) for one in (stat.owner, stat.description) if one)
            parts += ["\n", (about, "$quiet")]
        self.query_one("#queue-head", Static).update(Content.assemble(*parts))
        facts = policy_facts(details.policy)
        line = Content.assemble(("Settings  ", "$quiet"), ", ".join(facts) or _NO_SETTINGS)
        self.query_one("#queue-settings", Static).update(line)

    def _filter(self, state: str | None = None) -> str:
        return add_word("" if state is None else f"state:{state}", "queue", self.queue)

    def on_state_tile_opened(self, event: StateTile.Opened) -> None:
        """Show the jobs of a state."""
        self.app.enter("jobs", filter=self._filter(event.state))

    def on_grid_opened(self, event: Grid.Opened) -> None:
        """Open a failed job."""
        if event.grid.id == "failures" and event.grid.row is not None:
            self.app.enter("job", event.grid.row.id)

    def action_jobs(self) -> None:
        """Show the jobs of the queue."""
        self.app.enter("jobs", filter=self._filter())

    def action_pause(self) -> None:
        """Pause or resume the queue."""
        if self.value is not None:
            paused = self.value.details.overview.paused
            make = changes.resume if paused else changes.pause
            self.app.apply(make(self.queue))

    def action_cancel_waiting(self) -> None:
        """Cancel the waiting jobs of the queue."""
        if self.value is not None:
            self.app.apply(changes.cancel_waiting(self.value.details.overview))

    def action_window(self) -> None:
        """Show the next longer time range, or the shortest after the longest."""
        at = WINDOWS.index(self.series.window)
        window = WINDOWS[(at + 1) % len(WINDOWS)]
        self.visit.state["series"] = Series(window, self.queue)
        self.app.saved_state.put("window", window.name)
        self.reread()
