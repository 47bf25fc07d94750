"""The worker of Django's tasks: ``manage.py awa_worker``, or ``awa worker`` with a client of here.

``awa worker awa_lib.django.worker:clients.default`` works for the backend ``TASKS["default"]``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.utils.module_loading import autodiscover_modules
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from awa_lib.client.clients import AsyncClient
from awa_lib.django.backend import backend_named, backends
from awa_lib.django.handlers import handler_of
from awa_lib.django.interface import Task

if TYPE_CHECKING:
    from awa_lib.django.backend import AwaBackend

__all__ = ["build", "clients", "database_url", "tasks"]


def tasks() -> dict[str, Any]:
    """Return the tasks of this process by module path, those of the apps' ``tasks.py`` included.

    Those are the kinds of a worker.  It does not claim jobs of other kinds, so a task in another
    module needs one that imports it.
    """
    autodiscover_modules("tasks")
    found = {}
    for module in list(sys.modules.values()):
        for value in list(getattr(module, "__dict__", {}).values()):
            # Not isinstance(), which evaluates the lazy objects of Django.
            if issubclass(type(value), Task):
                found[value.module_path] = value
    return found


def build(alias: str | None = None) -> AsyncClient:
    """Return a client whose worker runs the tasks of this process, from a backend's database.

    It works the queues of the backend; one that takes any queue works those of its tasks.  It
    connects when the worker starts.  Raises InvalidTaskBackend, ValidationError for wrong OPTIONS.
    """
    backend = backend_named(alias)
    options, known = backend.given, tasks()
    client = AsyncClient(database_url(options.database))
    queues = _queues(backend, known)
    for name in queues:
        client.queue(
            name, concurrency=options.concurrency, deadline_seconds=options.deadline_seconds
        )
    for kind, task in sorted(known.items()):
        # Its kinds are worked in every queue; what a handler declares is shown at the start.
        queue = task.queue_name if task.queue_name in queues else queues[0]
        client.task(dict, kind=kind, queue=queue, **options.of_results())(handler_of(task))
    return client


def _queues(backend: AwaBackend, known: dict[str, Any]) -> list[str]:
    own = {task.queue_name for task in known.values() if task.backend == backend.alias}
    return sorted(backend.queues or own or {"default"})


def database_url(alias: str) -> str:
    """Return the address of a database of Django, as libpq reads it."""
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} - {"client_encoding"}
    params = connections[alias].get_connection_params()
    return make_conninfo(**{key: params[key] for key in known & params.keys()})


class _Clients:
    """The client of each backend, by alias; made on first use, when the apps are ready."""

    def __getattr__(self, alias: str) -> AsyncClient:
        if alias.startswith("_") or alias not in backends():
            raise AttributeError(f"TASKS has no backend of awa named {alias!r}")
        try:
            made = build(alias)
        except AttributeError as error:
            # Of the application: as such it would say that there is no such client.
            raise ImproperlyConfigured(f"the tasks cannot be imported: {error}") from error
        setattr(self, alias, made)
        return made


clients: Final = _Clients()
