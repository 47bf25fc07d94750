"""Read the policies of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_lib._sql import sql
from awa_lib.policies import QueuePolicy
from awa_lib.validation import name_of, names_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op

__all__ = ["get_queue_policy", "list_queue_policies"]


def get_queue_policy(queue: str) -> Op[QueuePolicy]:
    """Return the policy of a queue; an empty policy when none is stored.

    Raises ValidationError.
    """
    found = yield from list_queue_policies([name_of("queue", queue)])
    return found[0] if found else QueuePolicy(queue)


def list_queue_policies(queues: Sequence[str] | None = None) -> Op[list[QueuePolicy]]:
    """Return the stored policies of these queues, or of all, sorted by queue.

    Raises ValidationError.
    """
    rows = yield sql.policies(
        "list_queue_policies", queues=None if queues is None else names_of("queues", queues)
    )
    return rows.into(QueuePolicy)
