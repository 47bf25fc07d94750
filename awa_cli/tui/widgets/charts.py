"""Charts of what ends and what waits, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Horizontal

from awa_cli.tui.widgets.chart import Chart
from awa_cli.views.words import say_count, say_rate, say_seconds

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_cli.views.series import Series

__all__ = ["Pulse"]


class Pulse(Horizontal):
    """Completions, failures, time until the claim, age of the oldest job."""

    def compose(self) -> ComposeResult:
        """Yield the charts."""
        yield Chart("completed", style="green", say=say_rate, id="completed")
        yield Chart("failed", style="red", say=say_count, id="failed")
        yield Chart("wait", style="cyan", say=say_seconds, id="waited")
        yield Chart("lag", style="yellow", say=say_seconds, id="lags")

    def show(self, series: Series) -> None:
        """Show other values, in place."""
        for name in ("completed", "failed", "waited", "lags"):
            values = getattr(series, name)()
            self.query_one(f"#{name}", Chart).show(values, series.window.name)
