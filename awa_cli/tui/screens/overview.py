"""The whole queue at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from awa_cli.terminal.output import now
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.charts import Pulse
from awa_cli.tui.widgets.grid import Grid
from awa_cli.tui.widgets.tile import StateTile
from awa_cli.views.alerts import find_alerts
from awa_cli.views.columns import FAILURES, GLANCE_QUEUES
from awa_cli.views.series import WINDOWS, Series
from awa_cli.views.summary import busiest, fleet_words
from awa_lib.reads.queues import QueueStat, queue_stats
from awa_lib.reads.runtime import runtime_instances
from awa_lib.reads.statistics import latest_failures, state_counts
from awa_lib.states import STATES

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op
    from awa_lib.reads.runtime import RuntimeInstance
    from awa_lib.reads.statistics import Failure

__all__ = ["Glance", "OverviewPage"]

_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class Glance:
    """What the overview shows."""

    counts: dict[str, int]
    queues: list[QueueStat]
    fleet: list[RuntimeInstance]
    failures: list[Failure]


class OverviewPage(Page[Glance]):
    """Tiles, charts, the busiest queues, the latest failures, the fleet, and what is wrong."""

    BINDINGS: ClassVar = [
        Binding("w", "window", "Time span", id="overview.window"),
    ]

    @property
    def series(self) -> Series:
        """Return what the charts show; kept from visit to visit."""
        memory = self.stop_here.memory
        if "series" not in memory:
            wanted = self.app.memory.get("window")
            memory["series"] = Series(next((w for w in WINDOWS if w.name == wanted), WINDOWS[0]))
        return memory["series"]  # type: ignore[no-any-return]

    def query_op(self) -> Op[Glance]:
        """Read everything in one go."""
        counts = yield from state_counts()
        queues = yield from queue_stats()
        fleet = yield from runtime_instances()
        failures = yield from latest_failures(_FAILURES)
        if self.value is not None:
            # A day of a busy queue takes a second the first time: the rest is shown before it.
            yield from self.series.read(now())
        return Glance(counts, queues, fleet, failures)

    @property
    def settled(self) -> bool:
        """Return True once the charts are drawn too."""
        return self.series.begun

    def body(self) -> ComposeResult:
        """Yield tiles, charts and tables."""
        yield Static(id="alerts")
        with Container(id="tiles"):
            for state in STATES:
                yield StateTile(state, id=f"tile-{state}")
        yield Pulse(id="charts")
        with Horizontal(id="tables"):
            with Vertical():
                yield Static("Busiest queues", classes="title")
                yield Grid(GLANCE_QUEUES, _queue, empty="No queues yet.", id="busiest")
            with Vertical():
                yield Static("Latest failures", classes="title")
                yield Grid(FAILURES, _failure, empty="No job has failed.", id="failures")
        yield Static(id="fleet")

    def show(self, value: Glance) -> None:
        """Show the numbers, in place."""
        if not self.series.begun and self.feed is not None:
            self.feed.hurry()
        for state in STATES:
            self.query_one(f"#tile-{state}", StateTile).show(value.counts.get(state, 0))
        self.series.note_lag(max((one.lag_seconds or 0.0 for one in value.queues), default=0.0))
        self.query_one(Pulse).show(self.series)
        self.query_one("#busiest", Grid).show(busiest(value.queues))
        self.query_one("#failures", Grid).show(value.failures)
        self._show_alerts(value)
        self._show_fleet(value.fleet)

    def _show_alerts(self, value: Glance) -> None:
        sign = "!" if self.app.ascii_only else "⚠"
        lines = [f"{sign} {one.text}" for one in find_alerts(value.queues, value.fleet)]
        alerts = self.query_one("#alerts", Static)
        alerts.display = bool(lines)
        alerts.update(Content("\n".join(lines)))

    def _show_fleet(self, fleet: list[RuntimeInstance]) -> None:
        line = (", " if self.app.ascii_only else " · ").join(fleet_words(fleet))
        self.query_one("#fleet", Static).update(Content(line))

    def action_window(self) -> None:
        """Show a longer time, or the shortest again."""
        at = WINDOWS.index(self.series.window)
        window = WINDOWS[(at + 1) % len(WINDOWS)]
        self.stop_here.memory["series"] = Series(window)
        self.app.memory.put("window", window.name)
        self.reread()

    def on_state_tile_opened(self, event: StateTile.Opened) -> None:
        """Go to the jobs of a state."""
        self.app.enter("jobs", filter=f"state:{event.state}")

    def on_grid_opened(self, event: Grid.Opened) -> None:
        """Go into a queue or a job."""
        row = event.grid.row
        if event.grid.id == "busiest" and row is not None:
            self.app.enter("queue", row.queue)
        elif row is not None:
            self.app.enter("job", row.id)


def _queue(one: QueueStat) -> str:
    return one.queue


def _failure(one: Failure) -> int:
    return one.id
