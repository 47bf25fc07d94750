"""Assert on jobs that were inserted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, overload

from awa_lib._json import dumps
from awa_lib._sql import sql
from awa_lib.codec.encode import encode
from awa_lib.enqueue.kinds import kind_of
from awa_lib.errors import ValidationError
from awa_lib.models import Job
from awa_lib.testing._clients import Door, check_name, either, perform

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from awa_lib._sql import Op
    from awa_lib.client.clients import AsyncClient, Client

__all__ = ["assert_enqueued", "assert_not_enqueued", "enqueued"]

Kind = str | type[Any]
# Waiting jobs that an error lists.
_LISTED: Final = 20


@overload
def enqueued(
    client: AsyncClient, kind: Kind | None = None, *, args: Any = None, queue: str | None = None
) -> Coroutine[Any, Any, list[Job]]: ...
@overload
def enqueued(
    client: Client, kind: Kind | None = None, *, args: Any = None, queue: str | None = None
) -> list[Job]: ...
def enqueued(
    client: AsyncClient | Client,
    kind: Kind | None = None,
    *,
    args: Any = None,
    queue: str | None = None,
) -> Coroutine[Any, Any, list[Job]] | list[Job]:
    """Return the jobs that wait for a run (available, scheduled, retryable), oldest first.

    ``kind`` is a name or the class of the args.  ``args`` matches by jsonb containment: keys that
    it does not name do not matter, at any depth.  Raises ValidationError or SerializationError for
    args that ``insert`` would refuse.
    """
    return either(client, perform(client, _waiting(kind, args, queue)))


@overload
def assert_enqueued(
    client: AsyncClient,
    kind: Kind,
    *,
    args: Any = None,
    queue: str | None = None,
    count: int | None = None,
) -> Coroutine[Any, Any, list[Job]]: ...
@overload
def assert_enqueued(
    client: Client,
    kind: Kind,
    *,
    args: Any = None,
    queue: str | None = None,
    count: int | None = None,
) -> list[Job]: ...
def assert_enqueued(
    client: AsyncClient | Client,
    kind: Kind,
    *,
    args: Any = None,
    queue: str | None = None,
    count: int | None = None,
) -> Coroutine[Any, Any, list[Job]] | list[Job]:
    """Return the waiting jobs that match, as ``enqueued`` does.

    Raises AssertionError with a list of waiting jobs unless at least one job matches, or exactly
    ``count``.
    """
    return either(client, _assert(client, kind, args, queue, count))


@overload
def assert_not_enqueued(
    client: AsyncClient, kind: Kind, *, args: Any = None, queue: str | None = None
) -> Coroutine[Any, Any, None]: ...
@overload
def assert_not_enqueued(
    client: Client, kind: Kind, *, args: Any = None, queue: str | None = None
) -> None: ...
def assert_not_enqueued(
    client: AsyncClient | Client, kind: Kind, *, args: Any = None, queue: str | None = None
) -> Coroutine[Any, Any, None] | None:
    """Raise AssertionError if a waiting job matches; arguments as of ``enqueued``."""

    async def none() -> None:
        await _assert(client, kind, args, queue, 0)

    return either(client, none())


async def _assert(
    door: Door, kind: Kind, args: Any, queue: str | None, count: int | None
) -> list[Job]:
    if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 0):
        raise ValidationError(f"count must be a whole number from 0 on: {count!r}")
    found = await perform(door, _waiting(kind, args, queue))
    if len(found) == count or (count is None and found):
        return found
    there = found or await perform(door, _waiting(None, None, None))
    wanted = [_name(kind)]
    wanted += [] if args is None else [f"args {encode(args)}"]
    wanted += [] if queue is None else [f"queue {queue!r}"]
    expected = "at least 1" if count is None else str(count)
    head = f"expected {expected} enqueued of {', '.join(wanted)}, found {len(found)}"
    lines = [f"  {j.kind} {dumps(j.args)} queue {j.queue!r} {j.state}" for j in there[:_LISTED]]
    more = [f"  and {len(there) - _LISTED} more"] if len(there) > _LISTED else []
    raise AssertionError("\n".join([f"{head}; waiting:", *(lines or ["  nothing"]), *more]))


def _name(kind: Kind | None) -> str:
    if isinstance(kind, str):
        return kind
    if isinstance(kind, type):
        return kind_of(kind, None)
    raise ValidationError(f"kind must be a name or the class of the args: {kind!r}")


def _waiting(kind: Kind | None, args: Any, queue: str | None) -> Op[list[Job]]:
    check_name("queue", queue)
    rows = yield sql.testing(
        "waiting_jobs",
        kind=None if kind is None else _name(kind),
        queue=queue,
        args="{}" if args is None else encode(args),
    )
    return rows.into(Job)
