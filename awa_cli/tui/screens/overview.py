"""The overview: jobs by state, rates, busiest queues, latest failures, workers, alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.charts import SeriesCharts
from awa_cli.tui.widgets.grid import Grid
from awa_cli.tui.widgets.tile import StateTile
from awa_cli.views.alerts import find_alerts
from awa_cli.views.columns import FAILURES, SUMMARY_QUEUES
from awa_cli.views.series import WINDOWS, Series
from awa_cli.views.summary import busiest, fleet_words
from awa_cli.views.words import now
from awa_lib.reads.queues import QueueStat, queue_stats
from awa_lib.reads.runtime import runtime_instances
from awa_lib.reads.statistics import latest_failures, state_counts
from awa_lib.states import STATES

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op
    from awa_lib.reads.runtime import RuntimeInstance
    from awa_lib.reads.statistics import Failure

__all__ = ["OverviewData", "OverviewPage"]

_MAX_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class OverviewData:
    """The data of the page."""

    counts: dict[str, int]
    queues: list[QueueStat]
    fleet: list[RuntimeInstance]
    failures: list[Failure]


class OverviewPage(Page[OverviewData]):
    """Alerts, tiles, charts, the busiest queues, the latest failures, and the workers."""

    BINDINGS: ClassVar = [Binding("w", "window", "Time range", id="overview.window")]

    @property
    def series(self) -> Series:
        """Return the data of the charts, which is kept between visits."""
        if "series" not in self.visit.state:
            wanted = self.app.saved_state.get("window")
            window = next((one for one in WINDOWS if one.name == wanted), WINDOWS[0])
            self.visit.state["series"] = Series(window)
        series: Series = self.visit.state["series"]
        return series

    def query_op(self) -> Op[OverviewData]:
        """Read everything the page shows."""
        counts = yield from state_counts()
        queues = yield from queue_stats()
        fleet = yield from runtime_instances()
        failures = yield from latest_failures(_MAX_FAILURES)
        if self.value is not None:
            # The first read of a day of a busy queue takes a second: the rest is shown before.
            yield from self.series.read(now())
        return OverviewData(counts, queues, fleet, failures)

    @property
    def settled(self) -> bool:
        """Return True once the charts are drawn."""
        return self.series.begun

    def body(self) -> ComposeResult:
        """Yield tiles, charts and tables."""
        yield Static(id="alerts")
        with Container(id="tiles"):
            for state in STATES:
                yield StateTile(state, id=f"tile-{state}")
        yield SeriesCharts(id="charts")
        with Horizontal(id="tables"):
            with Vertical():
                yield Static("Busiest queues", classes="title")
                yield Grid(SUMMARY_QUEUES, _queue, empty="No queues yet.", id="busiest")
            with Vertical():
                yield Static("Latest failures", classes="title")
                yield Grid(FAILURES, _failure, empty="No failed jobs.", id="failures")
        yield Static(id="fleet")

    def show(self, value: OverviewData) -> None:
        """Show the data, in place."""
        if not self.series.begun and self.feed is not None:
            self.feed.hurry()
        for state in STATES:
            self.query_one(f"#tile-{state}", StateTile).show(value.counts.get(state, 0))
        self.series.note_lag(max((one.lag_seconds or 0.0 for one in value.queues), default=0.0))
        self.query_one(SeriesCharts).show(self.series)
        self.query_one("#busiest", Grid).show(busiest(value.queues))
        self.query_one("#failures", Grid).show(value.failures)
        self._show_alerts(value)
        self._show_fleet(value.fleet)

    def _show_alerts(self, value: OverviewData) -> None:
        sign = "!" if self.app.ascii_only else "⚠"
        lines = [f"{sign} {one.text}" for one in find_alerts(value.queues, value.fleet)]
        alerts = self.query_one("#alerts", Static)
        alerts.display = bool(lines)
        alerts.update(Content("\n".join(lines)))

    def _show_fleet(self, fleet: list[RuntimeInstance]) -> None:
        line = (", " if self.app.ascii_only else " · ").join(fleet_words(fleet))
        self.query_one("#fleet", Static).update(Content(line))

    def action_window(self) -> None:
        """Show the next longer time range, or the shortest after the longest."""
        at = WINDOWS.index(self.series.window)
        window = WINDOWS[(at + 1) % len(WINDOWS)]
        self.visit.state["series"] = Series(window)
        self.app.saved_state.put("window", window.name)
        self.reread()

    def on_state_tile_opened(self, event: StateTile.Opened) -> None:
        """Show the jobs of a state."""
        self.app.enter("jobs", filter=f"state:{event.state}")

    def on_grid_opened(self, event: Grid.Opened) -> None:
        """Open a queue or a job."""
        row = event.grid.row
        if event.grid.id == "busiest" and row is not None:
            self.app.enter("queue", row.queue)
        elif row is not None:
            self.app.enter("job", row.id)


def _queue(one: QueueStat) -> str:
    return one.queue


def _failure(one: Failure) -> int:
    return one.id
