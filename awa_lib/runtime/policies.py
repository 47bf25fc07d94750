"""Apply what the fleet says of this process's queues: stored policies, and who else works them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from awa_lib.db.jitter import RANDOM
from awa_lib.errors import ValidationError
from awa_lib.logs import Logger
from awa_lib.policies import QueuePolicy
from awa_lib.reads.policies import list_queue_policies
from awa_lib.reads.runtime import count_workers
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_lib.runtime.dispatcher import Dispatcher
    from awa_lib.runtime.links import Link

__all__ = ["Policies"]

logger = Logger(__name__)

_INTERVAL_SECONDS: Final = 10.0
# A large fleet counts itself less often: a thousand workers once a minute each.
_COUNT_SECONDS: Final = 10.0
_COUNT_SECONDS_PER_WORKER: Final = 0.05


class Policies:
    """Read the policies at start, after a notification of a change, and every 10 s.

    Workers are counted at start, then every ten seconds, in a fleet of a thousand once a minute.
    """

    def __init__(
        self,
        link: Link,
        dispatchers: Mapping[str, Dispatcher],
        on_change: Callable[[], None],
    ) -> None:
        self._link = link
        self._count_at = 0.0
        self._dispatchers = dispatchers
        self._on_change = on_change
        self._logged: dict[str, str] = {}
        self.duty = Duty("policies", self._read, seconds=_INTERVAL_SECONDS)

    async def start(self) -> None:
        """Read once, so that no claim ignores a limit, then start the loop."""
        await self._read()
        await self.duty.start()

    def poke(self) -> None:
        """Read now."""
        self.duty.poke()

    async def stop(self) -> None:
        """Stop reading."""
        await self.duty.stop()

    async def _read(self) -> None:
        found = await self._link.run(list_queue_policies(list(self._dispatchers)))
        stored = {policy.queue: policy for policy in found}
        changed = [
            dispatcher.follow(policy)
            for name, dispatcher in self._dispatchers.items()
            if (policy := self._usable(stored.get(name) or QueuePolicy(name))) is not None
        ]
        if any(changed):
            self._on_change()
        if time.monotonic() >= self._count_at:
            await self._count()

    async def _count(self) -> None:
        kinds = {kind for dispatcher in self._dispatchers.values() for kind in dispatcher.kinds}
        found = await self._link.run(count_workers(list(self._dispatchers), sorted(kinds)))
        for name, dispatcher in self._dispatchers.items():
            dispatcher.workers = found.get(name, 1)
        seconds = _COUNT_SECONDS + _COUNT_SECONDS_PER_WORKER * max(found.values(), default=1)
        self._count_at = time.monotonic() + seconds * RANDOM.uniform(0.9, 1.1)

    def _usable(self, policy: QueuePolicy) -> QueuePolicy | None:
        """Return a policy within its bounds; None, logged once, when it cannot be read."""
        try:
            usable = policy.clamped()
        except ValidationError as error:
            if self._logged.get(policy.queue) != str(error):
                self._logged[policy.queue] = str(error)
                logger.warning(
                    "the policy of a queue cannot be read; the worker keeps the previous one",
                    extra={"queue": policy.queue, "error": str(error)},
                )
            return None
        self._logged.pop(policy.queue, None)
        return usable
