"""The list of bulk operations: their progress; start, run and stop them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding
from textual.content import Content

from awa_cli.filters.text import read_text
from awa_cli.tui.changes.change import Change
from awa_cli.tui.screens.detail_page import DetailPage
from awa_cli.tui.widgets.dialogs import AskText
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.actions import submitted
from awa_cli.views.bulk import share_of
from awa_cli.views.job_columns import BATCHES
from awa_cli.views.states import BATCH_STYLES
from awa_cli.views.words import counted, span
from awa_lib.errors import InvalidInput
from awa_lib.models import BulkOperation
from awa_lib.ops.bulk import cancel_bulk_operation, run_bulk_operation
from awa_lib.reads.bulk import list_bulk_operations

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["BulkOperationsPage"]

_MAX_OPERATIONS: Final = 200
_BAR_WIDTH: Final = 40
_TENTHS_BELOW_SECONDS: Final = 10
# The id is for commands: the panel shows it.
_COLUMNS: Final = tuple(
    replace(one, wide=one.key == "id" or (one.wide and one.key != "errors")) for one in BATCHES
)


class BulkOperationsPage(DetailPage[BulkOperation]):
    """A row for each operation, newest first; the panel shows its progress."""

    COLUMNS = _COLUMNS
    EMPTY = "No bulk operations yet.  Press n to start a bulk operation."
    ACTIONS: ClassVar = {"new": "batch.submit", "run": "batch.run", "cancel": "batch.cancel"}
    BINDINGS: ClassVar = [
        Binding("n", "new", "New", id="batch.new"),
        Binding("r", "run", "Run here", id="batch.run"),
        Binding("c", "cancel", "Stop", id="batch.cancel"),
    ]

    def query_op(self) -> Op[list[BulkOperation]]:
        """Read the latest."""
        return list_bulk_operations(limit=_MAX_OPERATIONS)

    @property
    def read_interval(self) -> float:
        """Read more often while an operation is unfinished."""
        busy = any(not one.finished for one in self.value or [])
        return min(self.app.interval, 0.5) if busy else self.app.interval

    def show(self, value: list[BulkOperation]) -> None:
        """Show the rows."""
        super().show(value)
        if self.feed is not None:
            self.feed.pace.interval = self.read_interval

    def key(self, row: BulkOperation) -> str:
        """Return the id."""
        return row.id

    def about(self, row: BulkOperation) -> Content:
        """Show its progress, parameters and filter."""
        lines = facts(
            [
                ("id", row.id),
                ("with", _json(row.spec) if row.spec else None),
                ("filter", _json(row.filter) if row.filter else "none: all jobs"),
                ("skipped", f"{row.skipped:,}" if row.skipped else None),
                ("errors", f"{row.errored:,}" if row.errored else None),
                ("last error", row.last_error),
                ("submitted", row.submitted_at),
                ("by", row.submitted_by),
                ("took", _took(row)),
            ]
        )
        state = (row.state, self.app.paint.css(BATCH_STYLES.get(row.state, "")))
        title = Content.assemble((row.operation, "bold $text-accent"), "  ", state)
        return Content("\n").join([title, self._bar(row), lines])

    def _bar(self, row: BulkOperation) -> Content:
        share = share_of(row)
        if share is None:
            return Content.styled("No job matched.", "$quiet")
        done = _BAR_WIDTH * share // 100
        full, rest = ("#", "-") if self.app.ascii_only else ("━", "─")
        return Content.assemble(
            (full * done, "$text-success"),
            (rest * (_BAR_WIDTH - done), "$faint"),
            (f" {share}%", "bold"),
            f"  {row.processed:,} of {counted(row.total_matched)}",
        )

    def opened(self, row: BulkOperation) -> None:
        """Copy its id, for commands; the jobs that it changed are not recorded."""
        self.app.copy_to_clipboard(row.id)
        self.app.notify("Copied the id.")

    @work(group="change", exit_on_error=False)
    async def action_new(self) -> None:
        """Ask for the jobs, then for the change."""
        from awa_cli.tui.bulk import change_all

        title = "Change which jobs?  A filter like state:failed kind:email, or all"
        text = await self.app.push_screen_wait(AskText(title, "state:failed", check=_check))
        if text is not None:
            await change_all(self.app, "" if text == "all" else text)

    def action_cancel(self) -> None:
        """Stop it; jobs that it has changed stay changed."""
        if (row := self.grid.row) is not None:
            change = Change(
                "batch.cancel",
                _describe(row),
                lambda: cancel_bulk_operation(row.id),
                detail=submitted(row),
            )
            self.app.apply(change, note="Jobs that it has changed stay changed.")

    def action_run(self) -> None:
        """Run it in this process instead of a worker."""
        if (row := self.grid.row) is not None:
            change = Change(
                "batch.run",
                _describe(row),
                lambda: run_bulk_operation(row.id),
                detail=submitted(row),
            )
            self.app.apply(change)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the changes of a finished operation."""
        if action in {"cancel", "run"}:
            row = self.grid.row if self.value else None
            if row is None or row.finished:
                return False
        return super().check_action(action, parameters)


def _describe(row: BulkOperation) -> str:
    return f"{row.operation} of {counted(row.total_matched)}"


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _took(row: BulkOperation) -> str | None:
    if row.started_at is None or row.finished_at is None:
        return None
    seconds = (row.finished_at - row.started_at).total_seconds()
    return f"{seconds:.1f}s" if seconds < _TENTHS_BELOW_SECONDS else span(seconds)


def _check(text: str) -> str | None:
    """Return what is wrong with a filter, or None."""
    try:
        read_text("" if text == "all" else text)
    except InvalidInput as error:
        return f"{error}; {error.hint}" if error.hint else str(error)
    return None
