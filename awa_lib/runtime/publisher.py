"""Publish this process: its rows in the tables of the fleet, and its descriptors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_lib.errors import AwaError
from awa_lib.logs import Logger
from awa_lib.ops import runtime as ops
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_lib.descriptors import Descriptor
    from awa_lib.ops.runtime import InstanceSnapshot
    from awa_lib.runtime.own_process import OwnProcess

__all__ = ["Publisher"]

logger = Logger(__name__)


class Publisher:
    """Write the snapshot and the descriptors at start, every 10 s, and at the end."""

    def __init__(
        self,
        process: OwnProcess,
        snapshot: Callable[[], InstanceSnapshot],
        *,
        queues: Mapping[str, Descriptor],
        kinds: Mapping[str, Descriptor],
    ) -> None:
        self._link = process.link
        self._snapshot = snapshot
        self._process = process
        # They do not change: to encode 200 of them each time would take 20 ms.
        self._queues, self._kinds = ops.Descriptors(queues), ops.Descriptors(kinds)
        self._published = False
        self.duty = Duty("publisher", self._publish, seconds=ops.SNAPSHOT_INTERVAL_MS / 1000)

    async def start(self) -> None:
        """Publish once, so that a missing table stops the start, then start the loop."""
        await self._publish()
        await self.duty.start()

    def poke(self) -> None:
        """Publish now."""
        self.duty.poke()

    async def stop(self) -> None:
        """Publish the last state."""
        await self.duty.stop()
        if not self._published:
            return
        try:
            await self._publish_instance()
            await self._process.stop()
        except AwaError as error:
            logger.debug(
                "the last snapshot of this worker was not written", extra={"error": str(error)}
            )

    async def _publish(self) -> None:
        await self._process.keep()
        await self._publish_instance()
        await self._link.run(ops.sync_descriptors(self._queues, self._kinds))

    async def _publish_instance(self) -> None:
        await self._link.run(ops.publish_instance(self._snapshot(), self._queues, self._kinds))
        self._published = True
