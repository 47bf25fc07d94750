"""Run tasks in a TestCase, on the connection of the test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awa_lib.django.backend import backend_named
from awa_lib.django.worker import build
from awa_lib.testing import work_one

if TYPE_CHECKING:
    from awa_lib.client.clients import AsyncClient

__all__ = ["run_tasks"]

_workers: dict[str, AsyncClient] = {}


def run_tasks(
    *, backend: str | None = None, queue: str | None = None, limit: int = 10_000
) -> list[Any]:
    """Run the tasks that are due, one by one, and return their results in the order of their runs.

    They run on Django's connection of this thread, so they see what the test has not committed,
    and its rollback takes everything back.  Tasks that they enqueue are run too, at most ``limit``
    runs in all; those that wait for a retry or for ``run_after`` are not.  ``backend`` is an alias
    of TASKS.  Raises InvalidTaskBackend, ValidationError if there is no task.
    """
    alias = backend_named(backend).alias
    if alias not in _workers:
        _workers[alias] = build(alias)
    found = backend_named(alias)
    ids: dict[int, None] = {}
    for _ in range(limit):
        done = work_one(found.client, queue=queue, worker=_workers[alias])
        if done.is_no_job():
            break
        ids[done.job.id] = None  # type: ignore[union-attr] # there is a job
    return [found.get_result(str(job_id)) for job_id in ids]
