"""The list of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding

from awa_cli.tui.changes import queues as changes
from awa_cli.tui.screens.list_page import ListPage
from awa_cli.views.columns import QUEUES
from awa_lib.reads.queues import QueueStat, queue_stats

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["QueuesPage"]


class QueuesPage(ListPage[QueueStat]):
    """A row for each queue."""

    COLUMNS = QUEUES
    EMPTY = "No queues yet.  Enqueue a job or start a worker."
    ACTIONS: ClassVar = {"pause": "queue.pause", "cancel_waiting": "queue.cancel-waiting"}
    BINDINGS: ClassVar = [
        Binding("p", "pause", "Pause or resume", id="queue.pause"),
        Binding("x", "cancel_waiting", "Cancel waiting", show=False, id="queue.cancel-waiting"),
    ]

    def query_op(self) -> Op[list[QueueStat]]:
        """Read every queue."""
        return queue_stats()

    def key(self, row: QueueStat) -> str:
        """Return the name."""
        return row.queue

    def opened(self, row: QueueStat) -> None:
        """Open the queue."""
        self.app.enter("queue", row.queue)

    def action_pause(self) -> None:
        """Pause or resume the queue."""
        if (row := self.grid.row) is not None:
            make = changes.resume if row.paused else changes.pause
            self.app.apply(make(row.queue))

    def action_cancel_waiting(self) -> None:
        """Cancel the waiting jobs of the queue."""
        if (row := self.grid.row) is not None:
            self.app.apply(changes.cancel_waiting(row))
