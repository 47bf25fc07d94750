"""The test client of awa 0.5, for tests written for it."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from awa_lib._json import dumps
from awa_lib._sql import Op, atomic, sql
from awa_lib.enqueue.kinds import kind_of
from awa_lib.models import Job, JobState
from awa_lib.runtime.handlers import Handlers
from awa_lib.testing._work import next_attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from awa_lib.client.clients import AsyncClient
    from awa_lib.testing._results import WorkResult

__all__ = ["AwaTestClient", "HandlerJob", "get_database_url"]

A = TypeVar("A")


def get_database_url() -> str:
    """Return DATABASE_URL of the environment, or the published address of a local server."""
    return os.environ.get("DATABASE_URL", "postgres://postgres:test@localhost:5432/awa_test")


class HandlerJob(Job[A]):
    """A job made by hand, to call a handler with; ``work_one`` gives handlers a real one."""

    __slots__ = ()

    def __init__(
        self,
        args: A,
        id: int,  # noqa: A002 - the published name
        attempt: int,
        max_attempts: int,
        queue: str,
        priority: int,
        deadline: datetime | None,
        metadata: Mapping[str, Any],
        tags: Sequence[str],
    ) -> None:
        now = datetime.now(UTC)
        super().__init__(
            id, kind_of(args), queue, JobState.Running, priority, attempt, max_attempts, 1,
            "null", dumps(dict(metadata)), list(tags), None, None, now, now, None, deadline,
        )  # fmt: skip
        self._args = args


class AwaTestClient:
    """Wraps an AsyncClient as ``.client``."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client

    async def insert(self, args: Any, **options: Any) -> Job:
        """Insert a job.  Takes the options of ``AsyncClient.insert`` and raises as it does."""
        job: Job = await self.client.insert(args, **options)
        return job

    async def migrate(self) -> None:
        """Apply every pending migration."""
        await self.client.migrate()

    async def clean(self) -> None:
        """Delete every job, and what is known of queues.  Only for a database of tests."""
        await self.client._run(_clean())  # noqa: SLF001 - what every verb is made of

    async def work_one(
        self,
        args_type: type[Any],
        handler: Callable[..., Any],
        *,
        kind: str | None = None,
        queue: str = "default",
    ) -> WorkResult:
        """Claim one available job of this kind and queue and run ``handler`` as a worker would.

        The result's ``error`` is what the handler's exception or ``Cancel`` said, without its
        type.  Raises ValidationError for a bad kind, TypeError for a handler that cannot be called.
        """
        handlers = Handlers()
        handlers.add(args_type, handler, kind, queue)
        result = await next_attempt(self.client, handlers, queue, None)
        if result.error is None:
            return result
        return replace(result, error=_said(result.error))


def _said(recorded: str) -> str:
    """Return the message of what ``outcomes.describe`` wrote: ``Type: message`` and its frames."""
    return recorded.partition(": ")[2].partition('\n  File "')[0]


@atomic
def _clean() -> Op[None]:
    yield sql.testing("delete_jobs")
    yield sql.testing("delete_queues")
