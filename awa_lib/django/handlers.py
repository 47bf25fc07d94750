"""Handlers that run the functions of tasks, with Django's connections as around a request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from asgiref.sync import AsyncToSync, ThreadSensitiveContext, sync_to_async
from django.db import connections

from awa_lib.django.attempts import TaskAttempt
from awa_lib.django.interface import task_finished, task_started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from awa_lib.models import Job

__all__ = ["handler_of"]


def handler_of(task: Any) -> Callable[[Job[Any]], Any]:
    """Return the handler of a task: async for an ``async def`` function."""
    make = _async_handler if iscoroutinefunction(task.func) else _plain_handler
    return make(task)


def _plain_handler(task: Any) -> Callable[[Job[Any]], Any]:
    def handler(job: Job[Any]) -> Any:
        with _connections():
            run = TaskAttempt(job, task)
            # Robust, here as below: a receiver that fails is logged, and fails no task.
            task_started.send_robust(run.sender, task_result=run.result)
            try:
                value = run.returned(run.task.call(*run.args, **run.kwargs))
            except BaseException as error:
                # In the except block, where Django's own receiver finds the exception to log.
                if run.failed(error):
                    task_finished.send_robust(run.sender, task_result=run.result)
                raise
            if run.succeeded(value):
                task_finished.send_robust(run.sender, task_result=run.result)
            return value

    return handler


def _async_handler(task: Any) -> Callable[[Job[Any]], Any]:
    async def handler(job: Job[Any]) -> Any:
        async with _async_connections():
            run = TaskAttempt(job, task)
            # Not asend_robust(), whose receivers would not find the exception.
            await sync_to_async(task_started.send_robust)(run.sender, task_result=run.result)
            try:
                value = run.returned(await run.task.acall(*run.args, **run.kwargs))
            except BaseException as error:
                if run.failed(error):
                    await sync_to_async(task_finished.send_robust)(
                        run.sender, task_result=run.result
                    )
                raise
            if run.succeeded(value):
                await sync_to_async(task_finished.send_robust)(run.sender, task_result=run.result)
            return value

    return handler


@contextmanager
def _connections() -> Iterator[None]:
    _close_old()
    try:
        yield
    finally:
        _close_old()


def _close_old() -> None:
    """Do as Django's close_old_connections, but leave those of a TestCase open."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


@asynccontextmanager
async def _async_connections() -> AsyncIterator[None]:
    """Give a task a thread of its own for the ORM, as each request of ASGI has one.

    In the one thread that all tasks of a loop share otherwise, the end of one would close the
    connection that another reads from.  In a test that thread is the test's.
    """
    if asyncio.get_running_loop() in AsyncToSync.loop_thread_executors:
        yield
        return
    async with ThreadSensitiveContext():
        try:
            yield
        finally:
            await sync_to_async(connections.close_all)()
