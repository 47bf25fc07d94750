"""The list of kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.content import Content

from awa_cli.filters.text import add_word
from awa_cli.tui.changes.change import Change
from awa_cli.tui.screens.detail_page import DetailPage
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.queue_columns import KINDS
from awa_cli.views.words import clean, counted
from awa_lib.ops.jobs import retry_failed
from awa_lib.reads.overviews import KindOverview, list_kinds

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["KindsPage"]

# The panel shows what is declared; the name needs the room.
_COLUMNS: Final = tuple(
    replace(one, width=16 if one.key == "kind" else one.width)
    for one in KINDS
    if one.key != "declared"
)
_DRIFT: Final = Content.styled("live workers declare it differently", "$text-warning")


class KindsPage(DetailPage[KindOverview]):
    """A row for each kind; the panel shows what its workers declare."""

    COLUMNS = _COLUMNS
    EMPTY = "No kinds yet.  Enqueue a job or start a worker."
    ACTIONS: ClassVar = {"retry": "job.retry-failed"}
    BINDINGS: ClassVar = [
        Binding("e", "failed", "Show failed", id="kind.failed"),
        Binding("r", "retry", "Retry failed", id="kind.retry-failed"),
    ]

    def query_op(self) -> Op[list[KindOverview]]:
        """Read every kind."""
        return list_kinds()

    def key(self, row: KindOverview) -> str:
        """Return the name."""
        return row.kind

    def about(self, row: KindOverview) -> Content:
        """Show the descriptor, the number of jobs, and whether workers agree."""
        workers = counted(row.live_instances, "live worker")
        seen = row.descriptor_last_seen_at
        declared = f"by {workers}" if row.live_instances else None if seen else "by no worker"
        lines = facts(
            [
                ("about", row.description),
                ("owner", row.owner),
                ("docs", row.docs_url),
                ("tags", ", ".join(row.tags) or None),
                ("jobs", f"{row.job_count:,} in {counted(row.queue_count, 'queue')}"),
                ("last hour", f"{row.completed_last_hour:,} completed"),
                ("declared", declared or seen),
                ("drift", _DRIFT if row.descriptor_mismatch else None),
            ]
        )
        name = row.display_name or row.kind
        return Content("\n").join([Content.styled(clean(name), "bold $text-accent"), lines])

    def opened(self, row: KindOverview) -> None:
        """Show its jobs."""
        self.app.enter("jobs", filter=add_word("", "kind", row.kind))

    def action_failed(self) -> None:
        """Show its failed jobs."""
        if (row := self.grid.row) is not None:
            self.app.enter("jobs", filter=add_word("state:failed", "kind", row.kind))

    def action_retry(self) -> None:
        """Retry its failed jobs."""
        if (row := self.grid.row) is not None:
            kind = row.kind
            self.app.apply(
                Change("job.retry-failed", f"kind {kind}", lambda: retry_failed(kind=kind)),
                note=f"{counted(row.failed)} failed.",
            )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the retry of a kind without failed jobs."""
        if action == "retry" and ((row := self.grid.row) is None or not row.failed):
            return False
        return super().check_action(action, parameters)
