"""All queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding

from awa_cli.tui.changes import change
from awa_cli.tui.screens.list_page import ListPage
from awa_cli.views.columns import QUEUES
from awa_lib.reads.queues import QueueStat, queue_stats

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["QueuesPage"]


class QueuesPage(ListPage[QueueStat]):
    """One row a queue."""

    COLUMNS = QUEUES
    EMPTY = "No queues yet: enqueue a job, or start a worker."
    ACTIONS: ClassVar = {"pause": "queue.pause", "drain": "queue.drain"}
    BINDINGS: ClassVar = [
        Binding("p", "pause", "Pause or resume", id="queue.pause"),
        Binding("x", "drain", "Drain", show=False, id="queue.drain"),
    ]

    def query_op(self) -> Op[list[QueueStat]]:
        """Read every queue."""
        return queue_stats()

    def key(self, row: QueueStat) -> str:
        """Return the name."""
        return row.queue

    def opened(self, row: QueueStat) -> None:
        """Go into the queue."""
        self.app.enter("queue", row.queue)

    def action_pause(self) -> None:
        """Pause the queue, or let it go on."""
        if (row := self.grid.row) is not None:
            make = change.resume_queue if row.paused else change.pause_queue
            self.app.do(make(row.queue))

    def action_drain(self) -> None:
        """Cancel what waits in the queue."""
        if (row := self.grid.row) is not None:
            self.app.do(change.drain_queue(row.queue))
