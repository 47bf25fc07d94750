"""Insert a job in the transaction of your own connection, as ``awa.bridge`` of awa 0.5 does.

``client.using(conn)`` takes the same connections and has every verb.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from awa_lib._json import loads
from awa_lib.client.borrow import borrow, borrow_async
from awa_lib.enqueue.options import takes_options
from awa_lib.ops.inserts import insert

if TYPE_CHECKING:
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.models import Job

__all__ = ["insert_job", "insert_job_sync"]


@takes_options
async def insert_job(
    conn: Any,
    args: Any,
    **options: Unpack[InsertOptions],
) -> dict[str, Any]:
    """Insert a job on an async connection and return its row.

    ``conn`` is a psycopg AsyncConnection, an asyncpg Connection, or a SQLAlchemy AsyncConnection
    or AsyncSession.  The options are those of ``Client.insert``; args that are a dict need
    ``kind=``, or a key ``kind``, which stays in the args.  Never commits.  The row has id, kind,
    queue, args, state (text), priority, attempt, max_attempts, run_at and created_at (datetime),
    metadata and tags.
    Raises TypeError for another connection, for args or run_at of the wrong type, or without a
    kind; otherwise as ``insert``.
    """
    borrowed = borrow_async(conn)
    return _row(await borrowed.run(_insert(args, options)))


@takes_options
def insert_job_sync(
    conn: Any,
    args: Any,
    **options: Unpack[InsertOptions],
) -> dict[str, Any]:
    """Insert a job on a blocking connection and return its row.  See ``insert_job``.

    ``conn`` is a psycopg Connection, a SQLAlchemy Connection or Session, or Django's connection.
    """
    borrowed = borrow(conn)
    return _row(borrowed.run(_insert(args, options)))


def _insert(args: Any, options: InsertOptions) -> Op[Job]:
    if options.get("kind") is None and isinstance(args, dict):
        kind = args.get("kind")
        if not isinstance(kind, str):
            raise TypeError("dict args need kind=..., or a 'kind' key in the dict")
        options = {**options, "kind": kind}
    if args is None or isinstance(args, str | bytes | int | float | list | tuple):
        raise TypeError(
            f"args must be a dataclass, a pydantic model or a dict, got {type(args).__name__}"
        )
    run_at = options.get("run_at")
    if run_at is not None and not isinstance(run_at, str | datetime):
        raise TypeError(f"run_at must be text or a datetime, got {type(run_at).__name__}")
    return insert(args, **options)


def _row(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "kind": job.kind,
        "queue": job.queue,
        "args": loads(job._raw_args),  # noqa: SLF001 - as JSON data, whatever was given
        "state": str(job.state),
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "run_at": datetime.fromisoformat(job.run_at),
        "created_at": datetime.fromisoformat(job.created_at),
        "metadata": job.metadata,
        "tags": job.tags,
    }
