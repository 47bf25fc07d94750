"""``task_results``: the results of a group's tasks, one by one, in flat memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from awa_lib.reads.task_results import GroupResults

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from awa_lib._sql import Op

__all__ = ["AsyncTaskResults", "TaskResults"]

R = TypeVar("R")
V = TypeVar("V")


class TaskResults:
    """Blocking; needs ``_run(op)``."""

    def _run(self, op: Op[R], /) -> R:
        raise NotImplementedError

    @overload
    def task_results(self, workflow_id: int, name: str, *, into: type[V]) -> Iterator[V | None]: ...

    @overload
    def task_results(self, workflow_id: int, name: str, *, into: None = None) -> Iterator[Any]: ...

    def task_results(
        self, workflow_id: int, name: str, *, into: type[Any] | None = None
    ) -> Iterator[Any]:
        """Return what the tasks of a group have returned, one by one, however much it is.

        They come in the order of the tasks, with None for each that has no result.  The values
        have the type ``into``; otherwise they are JSON data.  They are read in pages of at most
        500 results and 8 MiB of JSON, or of one result that is larger, each by a statement of its
        own; between two pages no connection is held.  Waits for nothing.

        Raises ValidationError for a wrong argument; the iterator raises WorkflowNotFound,
        ResultExpired when one of the results has expired, ValidationError for what is no group, or
        for a result that does not fit the type.
        """
        return self._results(GroupResults(workflow_id, name, into))

    def _results(self, results: GroupResults) -> Iterator[Any]:
        while results.more:
            yield from results.values(self._run(results.page()))


class AsyncTaskResults:
    """Awaited; needs ``_run(op)``."""

    async def _run(self, op: Op[R], /) -> R:
        raise NotImplementedError

    @overload
    def task_results(
        self, workflow_id: int, name: str, *, into: type[V]
    ) -> AsyncIterator[V | None]: ...

    @overload
    def task_results(
        self, workflow_id: int, name: str, *, into: None = None
    ) -> AsyncIterator[Any]: ...

    def task_results(
        self, workflow_id: int, name: str, *, into: type[Any] | None = None
    ) -> AsyncIterator[Any]:
        """Return what the tasks of a group have returned, one by one, however much it is.

        See ``Client.task_results``, also for what it raises: ``async for value in …``.
        """
        return self._results(GroupResults(workflow_id, name, into))

    async def _results(self, results: GroupResults) -> AsyncIterator[Any]:
        while results.more:
            for value in results.values(await self._run(results.page())):
                yield value
