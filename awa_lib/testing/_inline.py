"""Run jobs inside the insert that creates them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import sql
from awa_lib.ops.jobs import get_job
from awa_lib.ops.leases import new_lease
from awa_lib.testing._clients import Door, either, handlers_of, perform
from awa_lib.testing._work import DEADLINE_SECONDS, run_claimed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from awa_lib._sql import Op, Rows
    from awa_lib.client.clients import AsyncClient, Client
    from awa_lib.models import Job
    from awa_lib.runtime.handlers import Handlers

__all__ = ["inline"]

_INSERTS: Final = ("insert", "insert_many", "insert_many_copy")
_DOORS: Final = ("transaction", "using")


@contextmanager
def inline(
    client: AsyncClient | Client,
    *,
    worker: AsyncClient | None = None,
    raise_errors: bool = False,
) -> Iterator[None]:
    """Inside the block, inserts of this client run their jobs at once and return them ended.

    Inserts in ``client.transaction()`` and ``client.using()`` run them in that transaction.
    Scheduled jobs, and kinds without a handler, are only inserted.  With ``raise_errors`` the
    insert raises the error of a handler, after the end of its job is recorded.
    Handlers as in ``work_one``; raises ValidationError if there are none.
    """
    handlers = handlers_of(client, worker)
    _hook(client, handlers, raise_errors)
    try:
        yield
    finally:
        for name in (*_INSERTS, *_DOORS):
            vars(client).pop(name, None)


def _hook(door: Any, handlers: Handlers, raise_errors: bool) -> Any:
    """Replace methods on the instance, and on the transactions that it opens."""
    for name in _INSERTS:
        if hasattr(door, name):
            setattr(door, name, _running(door, getattr(door, name), handlers, raise_errors))
    for name in _DOORS:
        if hasattr(door, name):
            setattr(door, name, _hooking(getattr(door, name), handlers, raise_errors))
    return door


def _hooking(
    method: Callable[..., Any], handlers: Handlers, raise_errors: bool
) -> Callable[..., Any]:
    @wraps(method)
    def opened(*args: Any, **options: Any) -> Any:
        return _hook(method(*args, **options), handlers, raise_errors)

    return opened


def _running(
    door: Door, method: Callable[..., Any], handlers: Handlers, raise_errors: bool
) -> Callable[..., Any]:
    @wraps(method)
    def insert(*args: Any, **options: Any) -> Any:
        return either(door, ended(method(*args, **options)))

    async def ended(inserted: Any) -> Any:
        jobs = await inserted if hasattr(inserted, "__await__") else inserted
        if jobs is None:  # skipped
            return None
        if not isinstance(jobs, list):
            return await _run(door, jobs, handlers, raise_errors)
        return [await _run(door, job, handlers, raise_errors) for job in jobs]

    return insert


async def _run(door: Door, job: Job, handlers: Handlers, raise_errors: bool) -> Job:
    if job.kind not in handlers:
        return job
    rows = await perform(door, _claim(job.id))
    if not rows:
        return await perform(door, get_job(job.id))
    errors: list[BaseException] = []
    done = await run_claimed(door, handlers, rows[0], errors)
    if errors and raise_errors:
        raise errors[0]
    return done


def _claim(job_id: int) -> Op[Rows]:
    return (
        yield sql.testing(
            "claim_job", id=job_id, lease=new_lease(), deadline_seconds=DEADLINE_SECONDS
        )
    )
