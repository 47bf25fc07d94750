"""The backend of Django's tasks: a task is a job, enqueued on Django's own connection."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import checks
from django.db import connections
from django.utils import timezone

from awa_lib.client.clients import Client
from awa_lib.django import results
from awa_lib.django.interface import (
    BaseTaskBackend,
    InvalidTaskBackend,
    TaskResultDoesNotExist,
    task_backends,
    task_enqueued,
)
from awa_lib.django.options import IGNORED, AwaTask, Options, check_attempts, level
from awa_lib.errors import ValidationError
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["AwaBackend", "backend_named", "backends"]


class AwaBackend(BaseTaskBackend):  # type: ignore[misc] # Django is not typed
    """Enqueues tasks as jobs, in the transaction that is open on Django's connection.

    The connection is that of ``OPTIONS["database"]``.  A rollback takes the task back; a block of
    ``atomic`` of another database has no part in it.
    """

    task_class = AwaTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.options: Mapping[str, Any] = params.get("OPTIONS", {})
        self._is_old = IGNORED in params or IGNORED in self.options

    @cached_property
    def given(self) -> Options:
        """The options of the TASKS setting.  Raises ValidationError."""
        return Options.read(self.options)

    @property
    def client(self) -> Client:
        """A client on Django's connection of this thread."""
        return Client.on(connections[self.given.database])

    def validate_task(self, task: Any) -> None:
        """Check a task.  Raises InvalidTask."""
        super().validate_task(task)
        check_attempts(task)

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Insert the job of a task, in the open transaction, and return its result.

        Arguments are checked before anything is written.  Raises InvalidTask, TypeError and
        ValueError for arguments that are no JSON or that PostgreSQL cannot hold, and the errors of
        ``Client.insert``.
        """
        self.validate_task(task)
        job = self.client.insert(
            {"args": results.plain(list(args)), "kwargs": results.plain(dict(kwargs))},
            kind=task.module_path,
            queue=task.queue_name,
            priority=level(task.priority),
            run_at=_moment(task.run_after),
            metadata={results.KEY: results.noted(task)},
            **self._attempts(task),
        )
        result = results.result_of(job.id, results.Stored.of(job), task)
        task_enqueued.send(type(self), task_result=result)
        return result

    def _attempts(self, task: Any) -> dict[str, Any]:
        most = getattr(task, "max_attempts", None) or self.given.max_attempts
        return {} if most is None else {"max_attempts": most}

    def get_result(self, result_id: str) -> Any:
        """Return the result with this id, as it is now, on Django's connection.

        Raises TaskResultDoesNotExist, also for a job of another backend, for one that retention
        has deleted, and for one whose return value has expired.
        """
        job_id = int(result_id) if _is_id(result_id) else 0
        found = self.client._run(results.stored(job_id)) if job_id else None  # noqa: SLF001 - what every verb calls
        kept = None if found is None else found.metadata.get(results.KEY)
        if found is None or not isinstance(kept, dict) or kept.get("backend") != self.alias:
            raise TaskResultDoesNotExist(result_id)
        task = results.enqueued(results.imported(found.kind), kept)
        return results.result_of(job_id, found, task)

    def check(self, **_: Any) -> list[Any]:
        """Return what is wrong with the settings.  Touches no database."""
        return list(self._faults())

    def _faults(self) -> Iterator[Any]:
        where = f"TASKS[{self.alias!r}]"
        if self._is_old:
            yield checks.Warning(
                f"{where}: {IGNORED} is ignored",
                hint="A task is enqueued in the open transaction and commits with it.",
                id="awa.W001",
            )
        try:
            options = self.given
        except ValidationError as error:
            yield checks.Error(f"{where}: {error}", hint=error.hint or error.why, id="awa.E001")
            return
        if options.database not in connections.settings:
            yield checks.Error(
                f"{where}: DATABASES has no {options.database!r}",
                hint="Name the database of the jobs in OPTIONS['database'].",
                id="awa.E002",
            )
        elif connections[options.database].vendor != "postgresql":
            yield checks.Error(
                f"{where}: the database {options.database!r} is not PostgreSQL", id="awa.E003"
            )


def backends() -> dict[str, AwaBackend]:
    """Return the backends of this class, by alias.  Raises InvalidTaskBackend."""
    found = {alias: task_backends[alias] for alias in task_backends}
    return {alias: one for alias, one in found.items() if isinstance(one, AwaBackend)}


def backend_named(alias: str | None = None) -> AwaBackend:
    """Return a backend; by default ``default``, or the only one.  Raises InvalidTaskBackend."""
    known = backends()
    if alias is None:
        alias = "default" if "default" in known or len(known) != 1 else next(iter(known))
    if alias not in known:
        raise InvalidTaskBackend(
            f"TASKS[{alias!r}] is no backend of awa; those are: {', '.join(known) or 'none'}"
        )
    return known[alias]


def _is_id(text: object) -> bool:
    return (
        isinstance(text, str)
        and re.fullmatch(r"[1-9][0-9]{0,18}", text) is not None
        and int(text) <= INT64_MAX
    )


def _moment(run_after: Any) -> Any:
    """Return a time with its offset; without USE_TZ it is in the time zone of the settings."""
    if run_after is None or settings.USE_TZ or timezone.is_aware(run_after):
        return run_after
    return timezone.make_aware(run_after)
