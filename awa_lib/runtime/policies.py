"""Follow what is stored about this process's queues."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from awa_lib.errors import ValidationError
from awa_lib.policies import QueuePolicy
from awa_lib.reads.policies import list_queue_policies
from awa_lib.runtime.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_lib.runtime.connections import Link
    from awa_lib.runtime.dispatcher import Dispatcher

__all__ = ["Policies"]

logger = logging.getLogger(__name__)

_SECONDS: Final = 10.0


class Policies:
    """Reads the policies at start, when told of a change, and every 10 s."""

    def __init__(
        self, link: Link, dispatchers: Mapping[str, Dispatcher], on_change: Callable[[], None]
    ) -> None:
        self._link = link
        self._dispatchers = dispatchers
        self._on_change = on_change
        self._odd: dict[str, str] = {}
        self.duty = Periodic("policies", _SECONDS, self._read)

    async def start(self) -> None:
        """Read once, so that no job is claimed against a limit, then keep at it."""
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
            if (policy := self._followed(stored.get(name) or QueuePolicy(name))) is not None
        ]
        if any(changed):
            self._on_change()

    def _followed(self, policy: QueuePolicy) -> QueuePolicy | None:
        """Return what can be followed of a policy; None, said once, when nothing can."""
        try:
            followed = policy.clamped()
        except ValidationError as error:
            if self._odd.get(policy.queue) != str(error):
                self._odd[policy.queue] = str(error)
                logger.warning(
                    "the settings of a queue cannot be read; it goes on with those it had",
                    extra={"queue": policy.queue, "error": str(error)},
                )
            return None
        self._odd.pop(policy.queue, None)
        return followed
