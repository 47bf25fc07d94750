"""Bulk operations: how far each is; start, carry out and stop them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding
from textual.content import Content

from awa_cli.filters.text import read_text
from awa_cli.terminal.output import counted, span
from awa_cli.tui.changes.change import Deed
from awa_cli.tui.screens.detail_page import DetailedPage
from awa_cli.tui.widgets.dialogs import AskText
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.actions import submitted
from awa_cli.views.columns import BATCH_STYLES, BATCHES
from awa_lib.errors import InvalidInput
from awa_lib.models import BulkOperation
from awa_lib.ops.bulk import cancel_bulk_operation, run_bulk_operation
from awa_lib.reads.bulk import list_bulk_operations

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["BatchesPage"]

_MOST: Final = 200
_BAR: Final = 40
# The id is for commands: the panel has it.
_COLUMNS: Final = tuple(
    replace(one, wide=one.title == "ID" or (one.wide and one.title != "ERRORS")) for one in BATCHES
)


class BatchesPage(DetailedPage[BulkOperation]):
    """One row an operation, newest first; below it, how far it is."""

    COLUMNS = _COLUMNS
    EMPTY = "No bulk operations yet: n starts one."
    ACTIONS: ClassVar = {"new": "batch.submit", "run": "batch.run", "cancel": "batch.cancel"}
    BINDINGS: ClassVar = [
        Binding("n", "new", "New", id="batch.new"),
        Binding("r", "run", "Carry out here", id="batch.run"),
        Binding("c", "cancel", "Stop", id="batch.cancel"),
    ]

    def query_op(self) -> Op[list[BulkOperation]]:
        """Read the latest."""
        return list_bulk_operations(limit=_MOST)

    @property
    def every(self) -> float:
        """Look more often while one goes on."""
        busy = any(not one.finished for one in self.value or [])
        return min(self.app.interval, 0.5) if busy else self.app.interval

    def show(self, value: list[BulkOperation]) -> None:
        """Show the rows."""
        super().show(value)
        if self.feed is not None:
            self.feed.pace.interval = self.every

    def key(self, row: BulkOperation) -> str:
        """Return the id."""
        return row.id

    def about(self, row: BulkOperation) -> Content:
        """Say how far it is, and what it is about."""
        lines = facts([
            ("id", row.id),
            ("with", _plain(row.spec) if row.spec else None),
            ("filter", _plain(row.filter) if row.filter else "none: every job"),
            ("skipped", f"{row.skipped:,}" if row.skipped else None),
            ("errors", f"{row.errored:,}" if row.errored else None),
            ("last error", row.last_error),
            ("submitted", row.submitted_at),
            ("by", row.submitted_by),
            ("took", _took(row)),
        ])  # fmt: skip
        state = (row.state, self.app.paint.css(BATCH_STYLES.get(row.state, "")))
        title = Content.assemble((row.operation, "bold $text-accent"), "  ", state)
        return Content("\n").join([title, self._bar(row), lines])

    def _bar(self, row: BulkOperation) -> Content:
        over = row.processed + row.skipped + row.errored
        share = 1.0 if row.state == "completed" else over / max(row.total_matched, 1)
        done = min(_BAR, int(_BAR * share))
        full, rest = ("#", "-") if self.app.ascii_only else ("━", "─")
        return Content.assemble(
            (full * done, "$text-success"), (rest * (_BAR - done), "$faint"),
            (f" {min(100, int(100 * share))}%", "bold"),
            f"  {row.processed:,} of {counted(row.total_matched)}",
        )  # fmt: skip

    def opened(self, row: BulkOperation) -> None:
        """Copy its id, which commands want; the jobs it changed are noted nowhere."""
        self.app.copy_to_clipboard(row.id)
        self.app.notify("Copied the id.")

    @work(group="change", exit_on_error=False)
    async def action_new(self) -> None:
        """Ask which jobs, then what to do with them."""
        from awa_cli.tui.bulk import change_all

        title = "Change which jobs?  Like state:failed kind:email; all for every job"
        text = await self.app.push_screen_wait(AskText(title, "state:failed", check=_wrong))
        if text is not None:
            await change_all(self.app, "" if text == "all" else text)

    def action_cancel(self) -> None:
        """Stop it between two batches."""
        if (row := self.grid.row) is not None:
            done = f"{row.operation} of {counted(row.total_matched)}"
            note = "What it has changed stays changed."
            self.app.do(
                Deed(
                    "batch.cancel", done, lambda: cancel_bulk_operation(row.id),
                    detail=submitted(row),
                ),
                note=note,
            )  # fmt: skip

    def action_run(self) -> None:
        """Carry it out from here, where no worker does."""
        if (row := self.grid.row) is not None:
            done = f"{row.operation} of {counted(row.total_matched)}"
            deed = Deed(
                "batch.run", done, lambda: run_bulk_operation(row.id), detail=submitted(row)
            )
            self.app.do(deed)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can still be done."""
        if action in {"cancel", "run"}:
            row = self.grid.row if self.value else None
            if row is None or row.finished:
                return False
        return super().check_action(action, parameters)


def _plain(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _took(row: BulkOperation) -> str | None:
    if row.started_at is None or row.finished_at is None:
        return None
    seconds = (row.finished_at - row.started_at).total_seconds()
    return f"{seconds:.1f}s" if seconds < 10 else span(seconds)  # noqa: PLR2004 - tenths matter below


def _wrong(text: str) -> str | None:
    """Say what is wrong with a filter."""
    try:
        read_text("" if text == "all" else text)
    except InvalidInput as error:
        return f"{error}; {error.hint}" if error.hint else str(error)
    return None
