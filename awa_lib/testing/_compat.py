"""The test client of awa 0.5, for tests that were written for it."""

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
    """Return the environment's DATABASE_URL, or the default URL of awa 0.5."""
    return os.environ.get("DATABASE_URL", "postgres://postgres:test@localhost:5432/awa_test")


class HandlerJob(Job[A]):
    """A job without a row, to call a handler with; ``work_one`` passes a real job."""

    __slots__ = ()

    # Positional, as awa 0.5 has them.
    def __init__(
        self,
        args: A,
        id: int,  # noqa: A002 - the name in awa 0.5
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
            id=id,
            kind=kind_of(args),
            queue=queue,
            state=JobState.Running,
            priority=priority,
            attempt=attempt,
            max_attempts=max_attempts,
            run_lease=1,
            args="null",
            metadata=dumps(dict(metadata)),
            tags=list(tags),
            errors=None,
            progress=None,
            run_at=now,
            created_at=now,
            deadline_at=deadline,
        )
        self._args = args


class AwaTestClient:
    """The test client of awa 0.5; ``client`` is the AsyncClient that it wraps."""

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
        """Delete every job and the state of the queues.  Only for a test database."""
        await self.client._run(_clean())  # noqa: SLF001 - what every verb calls

    async def work_one(
        self,
        args_type: type[Any],
        handler: Callable[..., Any],
        *,
        kind: str | None = None,
        queue: str = "default",
    ) -> WorkResult:
        """Claim an available job of this kind and queue and run ``handler`` as a worker would.

        The result's ``error`` is the message of the handler's exception or ``Cancel``, without its
        type.  Raises ValidationError for a bad kind, TypeError for a handler that is not callable.
        """
        handlers = Handlers()
        handlers.add(args_type, handler, kind, queue)
        result = await next_attempt(self.client, handlers, queue, None)
        if result.error is None:
            return result
        return replace(result, error=_message(result.error))


def _message(recorded: str) -> str:
    """Return the message in a text of ``outcomes.describe``: ``Type: message`` and the frames."""
    return recorded.partition(": ")[2].partition('\n  File "')[0]


@atomic
def _clean() -> Op[None]:
    yield sql.testing("delete_jobs")
    yield sql.testing("delete_queues")
