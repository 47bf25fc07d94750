"""The overview: alerts, jobs by state, rates, failures, queues in trouble, workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.containers import Container
from textual.content import Content
from textual.widgets import Static

from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.alerts import AlertList
from awa_cli.tui.widgets.charts import SeriesCharts
from awa_cli.tui.widgets.grid import Grid
from awa_cli.tui.widgets.tile import DEAD, StateTile
from awa_cli.views.alerts import find_alerts
from awa_cli.views.failures import SUMMARY_FAILURES, all_failures, job_of
from awa_cli.views.queues import SUMMARY_ROWS, QueueRow, queue_rows
from awa_cli.views.series import WINDOWS, Series
from awa_cli.views.summary import fleet_words
from awa_cli.views.words import now
from awa_lib.reads.dead_letters import dlq_depth
from awa_lib.reads.incidents import Incidents, incidents
from awa_lib.reads.queues import QueueStat, queue_stats
from awa_lib.reads.runtime import runtime_instances
from awa_lib.reads.statistics import state_counts
from awa_lib.states import STATES

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_cli.views.alerts import Alert
    from awa_lib._sql import Op
    from awa_lib.reads.failures import Failure
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["OverviewData", "OverviewPage"]

_MAX_FAILURES: Final = 20
_FAILURE_TIME: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class OverviewData:
    """The data of the page."""

    counts: dict[str, int]
    queues: list[QueueStat]
    fleet: list[RuntimeInstance]
    failures: list[Failure]
    incidents: Incidents
    dead_letters: int


class OverviewPage(Page[OverviewData]):
    """Alerts, tiles, charts, failures, the queues in trouble first, and the workers."""

    BINDINGS: ClassVar = [
        Binding(
            "w",
            "window",
            "Time range",
            id="overview.window",
            tooltip="Show a longer or shorter time in the charts",
        )
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._fresh = True

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
        failures = yield from all_failures(now() - _FAILURE_TIME, limit=_MAX_FAILURES)
        found = yield from incidents()
        dead = yield from dlq_depth()
        if self.value is not None:
            # The first read of a day of a busy queue takes a second: the rest is shown before.
            yield from self.series.read(now())
        return OverviewData(counts, queues, fleet, failures, found, dead)

    @property
    def settled(self) -> bool:
        """Return True once the charts are drawn."""
        return self.series.begun

    def body(self) -> ComposeResult:
        """Yield alerts, tiles, charts and tables."""
        yield AlertList(id="alerts")
        with Container(id="tiles"):
            for state in (*STATES, DEAD):
                yield StateTile(state, id=f"tile-{state}")
        yield SeriesCharts(id="charts")
        with Container(id="tables"):
            yield Grid(SUMMARY_FAILURES, _failure, empty="No failures in 24 hours.", id="failures")
            yield Grid(SUMMARY_ROWS, _queue, empty="No queues yet.", id="queues")
        yield Static(id="fleet")

    def on_mount(self) -> None:
        """Hide the alerts until they are known."""
        self.query_one(AlertList).display = False

    def show(self, value: OverviewData) -> None:
        """Show the data, in place."""
        if not self.series.begun and self.feed is not None:
            self.feed.hurry()
        for state in (*STATES, DEAD):
            count = value.dead_letters if state == DEAD else value.counts.get(state, 0)
            self.query_one(f"#tile-{state}", StateTile).show(count)
        self.series.note_lag(max((one.lag_seconds or 0.0 for one in value.queues), default=0.0))
        self.query_one(SeriesCharts).show(self.series)
        alerts = find_alerts(value.queues, value.fleet, value.incidents)
        self._show_alerts(alerts)
        self.query_one("#queues", Grid).show(queue_rows(value.queues, value.fleet, alerts))
        self.query_one("#failures", Grid).show(value.failures)
        self._show_fleet(value.fleet)

    def _show_alerts(self, alerts: list[Alert]) -> None:
        shown = self.query_one(AlertList)
        first = self._fresh and bool(alerts)
        shown.show(alerts)
        if first and self.focused is self.query(StateTile).first():
            # The worst first: Enter leads to it, unless a key has moved the focus already.
            shown.focus(scroll_visible=False)
        self._fresh = False

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
        """Show the jobs of a state, or the dead letters."""
        if event.state == DEAD:
            self.app.action_go("dlq")
        else:
            self.app.enter("jobs", filter=f"state:{event.state}")

    def on_alert_list_opened(self, event: AlertList.Opened) -> None:
        """Open what an alert is about."""
        alert = event.alert
        if alert.subject is None:
            self.app.action_go(alert.page)
        else:
            self.app.enter(alert.page, alert.subject)

    def on_grid_opened(self, event: Grid.Opened) -> None:
        """Open a queue or a failure."""
        row = event.grid.row
        if row is not None and event.grid.id == "queues":
            self.app.enter("queue", row.queue)
        elif row is not None:
            page = job_of(row)
            self.app.enter(page or "failure", row.job_id if page else row.id)


def _queue(one: QueueRow) -> str:
    return one.queue


def _failure(one: Failure) -> str:
    return one.id
