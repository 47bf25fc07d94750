"""RawClient, as awa 0.5 has it: async verbs, and blocking verbs that end in ``_sync``."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from awa_lib.client.clients import AsyncClient, Client

if TYPE_CHECKING:
    from awa_lib.client.signatures import Insert
    from awa_lib.enqueue.kinds import Kinds

__all__ = ["RawClient"]

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=Callable[..., Any])


def _twin(method: Callable[Concatenate[Client, P], R]) -> Callable[Concatenate[RawClient, P], R]:
    def call(self: RawClient, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return method(self._blocking, *args, **kwargs)

    return update_wrapper(call, method)


class RawClient(AsyncClient):
    """An AsyncClient with the blocking verbs of awa 0.5, whose names end in ``_sync``.

    New code uses AsyncClient or Client.  The blocking verbs use connections of their own, at most
    ``max_connections``; ``close_sync()`` closes them, and so does ``close()``.
    """

    def __init__(
        self, database_url: str, max_connections: int = 10, *, kinds: Kinds | None = None
    ) -> None:
        super().__init__(database_url, max_connections, kinds=kinds)
        self._blocking = Client(database_url, max_connections, kinds=self.kinds)

    async def close(self) -> None:
        """Close every connection and release an embedded server.  May be called again."""
        await super().close()
        self._blocking.close()

    def worker(
        self, args_type: type[Any], *, kind: str | None = None, queue: str = "default"
    ) -> Callable[[H], H]:
        """Register a handler.  Raises as ``task``."""
        return self.task(args_type, kind=kind, queue=queue)  # type: ignore[return-value] # typed as awa 0.5 has it

    cancel_by_unique_key_sync = _twin(Client.cancel_by_unique_key)
    cancel_sync = _twin(Client.cancel)
    close_sync = _twin(Client.close)
    complete_external_sync = _twin(Client.complete_external)
    discard_failed_sync = _twin(Client.discard_failed)
    drain_queue_sync = _twin(Client.drain_queue)
    fail_external_sync = _twin(Client.fail_external)
    flush_admin_metadata_sync = _twin(Client.flush_admin_metadata)
    get_job_sync = _twin(Client.get_job)
    health_check_sync = _twin(Client.health_check)
    heartbeat_callback_sync = _twin(Client.heartbeat_callback)
    insert_many_copy_sync = _twin(Client.insert_many_copy)
    insert_sync = cast("Insert", _twin(Client.insert))
    list_jobs_sync = _twin(Client.list_jobs)
    migrate_sync = _twin(Client.migrate)
    pause_queue_sync = _twin(Client.pause_queue)
    queue_stats_sync = _twin(Client.queue_stats)
    resolve_callback_sync = _twin(Client.resolve_callback)
    resume_external_sync = _twin(Client.resume_external)
    resume_queue_sync = _twin(Client.resume_queue)
    retry_external_sync = _twin(Client.retry_external)
    retry_failed_sync = _twin(Client.retry_failed)
    result_sync = _twin(Client.result)
    retry_sync = _twin(Client.retry)
    transaction_sync = _twin(Client.transaction)
