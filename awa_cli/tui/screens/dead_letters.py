"""The list of dead letters: failed jobs that are kept until they are retried or purged."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Final

from textual import work
from textual.binding import Binding

from awa_cli.filters.query import Read
from awa_cli.tui.changes import dead_letters as changes
from awa_cli.tui.screens.growing_page import GrowingPage
from awa_cli.tui.widgets.dialogs import Pick
from awa_cli.views.actions import ACTIONS
from awa_cli.views.job_columns import DEAD_LETTERS
from awa_cli.views.words import counted
from awa_lib.errors import AwaError
from awa_lib.reads.dead_letters import DeadLetter, count_dead_letters, dead_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.tui.changes.change import Change
    from awa_lib._sql import Op

__all__ = ["DeadLettersPage"]

# The reason usually repeats the error.
_COLUMNS: Final = tuple(
    replace(one, wide=True) if one.key == "reason" else one for one in DEAD_LETTERS
)


class DeadLettersPage(GrowingPage[DeadLetter]):
    """Dead letters that match the filter, the highest id first."""

    COLUMNS = _COLUMNS
    EMPTY = "No dead letters.  To keep the failed jobs of a queue: awa dlq enable QUEUE"
    READ = Read.DEAD_LETTERS
    ACTIONS: ClassVar = {"retry": "dlq.retry", "purge": "dlq.purge", "bulk": "dlq.retry-all"}
    BINDINGS: ClassVar = [
        Binding("r", "retry", "Retry", id="dlq.retry"),
        Binding("d", "purge", "Purge", id="dlq.purge"),
        Binding("b", "bulk", "All matching", id="dlq.bulk"),
        Binding("o", "queue", "Open queue", show=False, id="dlq.queue"),
    ]

    def query_op(self) -> Op[list[DeadLetter]]:
        """Read the newest that match."""
        return dead_letters(limit=self.limit, **self.where)

    def key(self, row: DeadLetter) -> int:
        """Return the id."""
        return row.id

    def opened(self, row: DeadLetter) -> None:
        """Open it."""
        self.app.enter("dead_letter", row.id)

    def action_queue(self) -> None:
        """Open its queue."""
        if (row := self.grid.row) is not None:
            self.app.enter("queue", row.queue)

    def _apply(self, make: Callable[[list[DeadLetter]], Change]) -> None:
        if rows := self.grid.selected:
            self.app.apply(make(rows))

    def action_retry(self) -> None:
        """Retry the selected dead letters."""
        self._apply(changes.retry)

    def action_purge(self) -> None:
        """Delete the selected dead letters."""
        self._apply(changes.purge)

    @work(group="change", exit_on_error=False)
    async def action_bulk(self) -> None:
        """Retry or delete all dead letters that match the filter."""
        text, where = self.filter.text, self.where
        title = f"All dead letters matching {text}" if text else "All dead letters"
        options = [(name, ACTIONS[name].verb) for name in ("dlq.retry-all", "dlq.purge-all")]
        if (name := await self.app.push_screen_wait(Pick(title, options))) is None:
            return
        make = changes.retry_all if name == "dlq.retry-all" else changes.purge_all
        try:
            count = await self.app.source.read(count_dead_letters(**where))
            if not count:
                self.app.notify("No dead letters match.")
                return
            change = make(where)
            note = f"{counted(count, 'dead letter')} match."
            if not await self.app.confirmed(change, note=note):
                return
            changed = await self.app.source.change(change.recorded())
        except AwaError as error:
            self.app.show_error(error)
            return
        text = change.action.done.format(target=counted(changed, "dead letter"))
        left = max(count - changed, 0)
        self.app.notify(text + (f"; {left:,} unchanged" if left else ""), markup=False)
        self.app.show_change()
