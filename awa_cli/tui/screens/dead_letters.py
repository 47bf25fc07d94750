"""Dead letters: failed jobs kept apart until someone acts on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding

from awa_cli.filters.query import Read
from awa_cli.terminal.output import counted
from awa_cli.tui.changes import dead_letters as deeds
from awa_cli.tui.screens.filtered_page import FilteredPage
from awa_cli.tui.widgets.dialogs import Pick
from awa_cli.views.actions import ACTIONS
from awa_cli.views.columns import DEAD_LETTERS
from awa_lib.errors import AwaError
from awa_lib.reads.dead_letters import DeadLetter, count_dead_letters, dead_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.tui.changes.change import Deed
    from awa_cli.tui.widgets.grid import Grid
    from awa_lib._sql import Op

__all__ = ["LettersPage"]

_PAGE: Final = 200
# Each look reads all that is loaded; who wants more than this filters.
_MOST: Final = 2_000
# Mostly the reason is the error.
_COLUMNS: Final = tuple(
    replace(one, wide=True) if one.title == "REASON" else one for one in DEAD_LETTERS
)


class LettersPage(FilteredPage[DeadLetter]):
    """Dead letters that fit the filter, newest id first."""

    COLUMNS = _COLUMNS
    EMPTY = "No dead letters.  A queue keeps them apart after: awa dlq enable QUEUE"
    READ = Read.DEAD_LETTERS
    ACTIONS: ClassVar = {"retry": "dlq.retry", "purge": "dlq.purge", "bulk": "dlq.retry-all"}
    BINDINGS: ClassVar = [
        Binding("r", "retry", "Retry", id="dlq.retry"),
        Binding("d", "purge", "Purge", id="dlq.purge"),
        Binding("b", "bulk", "All that fit", id="dlq.bulk"),
        Binding("o", "queue", "Its queue", show=False, id="dlq.queue"),
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._limit = _PAGE

    @property
    def where(self) -> Any:
        """Return the filter."""
        return self.wanted

    def query_op(self) -> Op[list[DeadLetter]]:
        """Read the newest that fit."""
        return dead_letters(limit=self._limit, **self.where)

    def key(self, row: DeadLetter) -> int:
        """Return the id."""
        return row.id

    def on_grid_short(self, event: Grid.Short) -> None:
        """Read more when the cursor comes near the end."""
        whole = self.value is not None and len(self.value) == self._limit
        if event.edge == "end" and whole and self._limit < _MOST:
            self._limit += _PAGE
            self.reread()

    def filtered(self) -> None:
        """Show what fits now."""
        self._limit = _PAGE
        super().filtered()

    def opened(self, row: DeadLetter) -> None:
        """Go into it."""
        self.app.enter("letter", row.id)

    def action_queue(self) -> None:
        """Go into the queue it came from."""
        if (row := self.grid.row) is not None:
            self.app.enter("queue", row.queue)

    def _do(self, make: Callable[[list[DeadLetter]], Deed]) -> None:
        if picked := self.grid.picked:
            self.app.do(make(picked))

    def action_retry(self) -> None:
        """Make the picked ones jobs again."""
        self._do(deeds.retry)

    def action_purge(self) -> None:
        """Delete the picked ones."""
        self._do(deeds.purge)

    @work(group="change", exit_on_error=False)
    async def action_bulk(self) -> None:
        """Retry or delete all that fit the filter."""
        text, where = self.filter.text, self.where
        title = f"All dead letters with {text}" if text else "All dead letters"
        options = [(name, ACTIONS[name].verb) for name in ("dlq.retry-all", "dlq.purge-all")]
        if (name := await self.app.push_screen_wait(Pick(title, options))) is None:
            return
        make = deeds.retry_all if name == "dlq.retry-all" else deeds.purge_all
        try:
            count = await self.app.source.read(count_dead_letters(**where))
            if not count:
                self.app.notify("No dead letters fit.")
                return
            deed = make(where)
            if not await self.app.agreed(deed, note=f"{counted(count, 'dead letter')} fit."):
                return
            changed = await self.app.source.change(deed.noted())
        except AwaError as error:
            self.app.complain(error)
            return
        told = deed.action.done.format(target=counted(changed, "dead letter"))
        left = max(count - changed, 0)
        self.app.notify(told + (f"; {left:,} stay" if left else ""), markup=False)
        if (page := self.app.page) is not None:
            page.changed()
