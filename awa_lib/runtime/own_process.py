"""The row of this process in the table of worker processes, which its leases name."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

from awa_lib.ops.leases import Leases
from awa_lib.ops.processes import Process, keep_process, stop_process
from awa_lib.runtime import identity

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.config.workers import WorkerOptions
    from awa_lib.runtime.links import Link

__all__ = ["OwnProcess"]


class OwnProcess:
    """A worker in this operating-system process: its row, and the leases of its claims."""

    def __init__(self, link: Link, options: WorkerOptions) -> None:
        self.link = link
        self._said = Process(
            instance_id=str(uuid.uuid4()),
            hostname=identity.hostname(),
            pid=os.getpid(),
            version=identity.version(),
            app_version=identity.app_version(),
            heartbeat_interval_ms=options.heartbeat_interval_ms,
            heartbeat_staleness_ms=options.heartbeat_staleness_ms,
        )
        self._started_at: datetime | None = None
        self.leases = Leases()

    @property
    def instance_id(self) -> str:
        """Return the id of the worker in the fleet's table."""
        return self._said.instance_id

    async def keep(self) -> None:
        """Insert the row, or keep it.  Before the first time leases name nobody."""
        conn = await self.link.connection()
        # Behind a pooler the session is another one's, and its end says nothing.
        session = None if self.link.pooled else conn.info.backend_pid
        kept = keep_process(self._said, self.leases.process, self._started_at, session)
        self.leases.process, self._started_at = await self.link.run(kept)

    async def stop(self) -> None:
        """Note that the worker has ended as it should."""
        if self.leases.process is not None:
            await self.link.run(stop_process(self._said, self.leases.process))
