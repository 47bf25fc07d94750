"""What the TASKS setting and a task say to this backend."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from awa_lib.config.queues import declare_queue
from awa_lib.django.interface import InvalidTask, Task
from awa_lib.enqueue.kinds import Kinds
from awa_lib.errors import ValidationError
from awa_lib.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from typing import Self

__all__ = ["IGNORED", "AwaTask", "Options", "check_attempts", "level"]

IGNORED: Final = "ENQUEUE_ON_COMMIT"
"""An option of older backends: a task of this one commits with the transaction."""

_MOST_ATTEMPTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Options:
    """``OPTIONS`` of a backend in the TASKS setting; all may be left out."""

    database: str = "default"
    """The alias of the database that holds the jobs."""
    max_attempts: int | None = None
    """Of a task that says nothing else; None is awa's default, 25."""
    concurrency: int = 10
    """The most tasks of a queue that a worker process runs at once."""
    deadline_seconds: float | None = 300.0
    """How long an attempt may take; None is no limit."""
    result_ttl: float | str | timedelta | None = None
    """How long a return value is kept: seconds, or text like ``'30d'``; by default 7 days."""
    result_max_bytes: int | None = None
    """The most bytes of JSON of a return value, by default 1,048,576."""
    migrate: bool = True
    """Whether ``manage.py migrate`` applies awa's migrations to the database too."""

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Return checked options.  Raises ValidationError."""
        known = [field.name for field in fields(cls)]
        given = {name: value for name, value in given.items() if name != IGNORED}
        for name in given:
            if name not in known:
                raise ValidationError(
                    f"unknown option {name!r} in OPTIONS",
                    hint=did_you_mean(name, known, "") or f"known: {', '.join(known)}",
                )
        alias, migrate = given.get("database", ""), given.get("migrate", True)
        if not isinstance(alias, str) or not isinstance(migrate, bool):
            raise ValidationError(
                "wrong type in OPTIONS", why="database is an alias, and migrate is True or False"
            )
        options = cls(**given)
        try:
            # What a queue and a kind of a worker are declared with, so that the rules are theirs.
            declare_queue("default", options.concurrency, deadline_seconds=options.deadline_seconds)
            Kinds().declare(dict, "a", max_attempts=options.max_attempts, **options.of_results())
        except (TypeError, ValueError) as error:
            if isinstance(error, ValidationError):
                raise
            raise ValidationError(str(error)) from error
        return options

    def of_results(self) -> dict[str, Any]:
        """Return the options of a kind that keeps what its tasks return."""
        return {
            "result": True,
            "result_ttl": self.result_ttl,
            "result_max_bytes": self.result_max_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaTask(Task):  # type: ignore[misc] # Django is not typed
    """A task of this backend: ``max_attempts`` is its own, 1 to 1000.

    Django 6.1 takes it in the decorator, ``@task(max_attempts=5)``; every version in
    ``task.using(max_attempts=5)``.
    """

    max_attempts: int | None = None

    def using(self, *, max_attempts: int | None = None, **changes: Any) -> Any:
        """Return a copy of the task with other options.  Raises InvalidTask."""
        # Not super(): dataclass makes the class again for its slots.
        task = Task.using(self, **changes)
        return task if max_attempts is None else replace(task, max_attempts=max_attempts)


def check_attempts(task: Any) -> None:
    """Check the attempts of a task.  Raises InvalidTask."""
    most = getattr(task, "max_attempts", None)
    if most is not None and (type(most) is not int or not 1 <= most <= _MOST_ATTEMPTS):
        raise InvalidTask(f"max_attempts must be a whole number from 1 to {_MOST_ATTEMPTS}.")


def level(priority: int) -> int:
    """Return the priority of a job, 1 (first) to 4, for one of Django, -100 to 100 (first).

    >>> [level(priority) for priority in (100, 34, 33, 0, -33, -34, -66, -67, -100)]
    [1, 1, 2, 2, 2, 3, 3, 4, 4]
    """
    return 1 if priority >= 34 else 2 if priority >= -33 else 3 if priority >= -66 else 4  # noqa: PLR2004 - equal parts
