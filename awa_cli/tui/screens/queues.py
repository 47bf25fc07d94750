"""The list of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding

from awa_cli.tui.changes import queues as changes
from awa_cli.tui.screens.list_page import ListPage
from awa_cli.views.alerts import find_alerts
from awa_cli.views.queues import QUEUE_ROWS, QueueRow, queue_rows
from awa_lib.reads.incidents import incidents
from awa_lib.reads.queues import queue_stats
from awa_lib.reads.runtime import runtime_instances

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["QueuesPage"]


class QueuesPage(ListPage[QueueRow]):
    """A row for each queue, those in trouble first."""

    COLUMNS = QUEUE_ROWS
    EMPTY = "No queues yet.  Enqueue a job or start a worker."
    ACTIONS: ClassVar = {"pause": "queue.pause", "cancel_waiting": "queue.cancel-waiting"}
    BINDINGS: ClassVar = [
        Binding("p", "pause", "Pause or resume", id="queue.pause"),
        Binding("x", "cancel_waiting", "Cancel waiting", show=False, id="queue.cancel-waiting"),
    ]

    def query_op(self) -> Op[list[QueueRow]]:
        """Read every queue, and what is wrong with it."""
        queues = yield from queue_stats()
        fleet = yield from runtime_instances()
        return queue_rows(queues, fleet, find_alerts(queues, fleet, (yield from incidents())))

    def key(self, row: QueueRow) -> str:
        """Return the name."""
        return row.queue

    def opened(self, row: QueueRow) -> None:
        """Open the queue."""
        self.app.enter("queue", row.queue)

    def action_pause(self) -> None:
        """Pause or resume the queue."""
        if (row := self.grid.row) is not None:
            make = changes.resume if row.stat.paused else changes.pause
            self.app.apply(make(row.queue))

    def action_cancel_waiting(self) -> None:
        """Cancel the waiting jobs of the queue."""
        if (row := self.grid.row) is not None:
            self.app.apply(changes.cancel_waiting(row.stat))
