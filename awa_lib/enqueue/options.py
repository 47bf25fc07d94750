"""The options of an insert: types, defaults, checks, and how a signature shows them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from awa_lib._json import dumps, loads
from awa_lib.codec.encode import encode_object
from awa_lib.enqueue.unique import Unique, UniqueOptions
from awa_lib.errors import ValidationError
from awa_lib.validation import (
    did_you_mean,
    moment_of,
    name_of,
    number_of,
    seconds_of,
    storable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    Delay = float | str | timedelta | None
    InsertMiddleware = Callable[[list["NewJob"]], list["NewJob"]]

__all__ = [
    "CONCURRENCY_KEY",
    "InsertOptions",
    "KindOptions",
    "NewJob",
    "Options",
    "checked",
    "checked_of",
    "complete",
    "merged",
    "takes_options",
]

F = TypeVar("F", bound="Callable[..., Any]")

CONCURRENCY_KEY: Final = "_awa_concurrency_key"
_TAGS: Final = 20
# The CHECKs of the tables of jobs.
_PRIORITIES: Final = (1, 4)
_ATTEMPTS: Final = (1, 1000)


class InsertOptions(TypedDict, total=False):
    """The options of every verb that inserts jobs.  ``Client.insert`` describes them."""

    kind: str | None
    queue: str
    priority: int
    max_attempts: int
    tags: Sequence[str] | None
    metadata: Mapping[str, Any] | None
    run_at: datetime | str | None
    delay: Delay
    unique: Unique | None
    unique_opts: Mapping[str, Any] | None
    concurrency_key: str | None


class KindOptions(TypedDict, total=False):
    """What can be declared for a kind; None is the same as not given."""

    queue: str | None
    priority: int | None
    max_attempts: int | None
    tags: Sequence[str] | None
    unique: Unique | None
    unique_opts: Mapping[str, Any] | None
    result: Any
    """True or the type of the results, for a kind that keeps them."""
    result_ttl: Delay
    result_max_bytes: int | None


_DEFAULTS: Final[InsertOptions] = {
    "kind": None,
    "queue": "default",
    "priority": 2,
    "max_attempts": 25,
    "tags": None,
    "metadata": None,
    "run_at": None,
    "delay": None,
    "unique": None,
    "unique_opts": None,
    "concurrency_key": None,
}


def complete(given: InsertOptions) -> InsertOptions:
    """Return all options, with the default for each that is not given.

    Raises TypeError for an unknown option.
    """
    options: InsertOptions = {**_DEFAULTS, **given}
    if len(options) > len(_DEFAULTS):
        wrong = next(name for name in given if name not in _DEFAULTS)
        near = did_you_mean(wrong, _DEFAULTS)
        raise TypeError(
            f"an insert got an unexpected keyword argument {wrong!r}"
            + (f"; {near}" if near else "")
        )
    return options


def merged(declared: InsertOptions, given: InsertOptions) -> InsertOptions:
    """Return what is declared and given; what is given wins."""
    one_of = ("unique", "unique_opts")
    if any(given.get(name) is not None for name in one_of):
        declared = {key: value for key, value in declared.items() if key not in one_of}  # type: ignore[assignment] # a part of it
    return {**declared, **given}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job of a bulk insert with options of its own.

    An option that is None is that of the call.
    """

    args: Any
    kind: str | None = None
    queue: str | None = None
    priority: int | None = None
    max_attempts: int | None = None
    tags: Sequence[str] | None = None
    metadata: Mapping[str, Any] | None = None
    run_at: datetime | str | None = None
    delay: float | str | timedelta | None = None
    unique: Unique | None = None
    unique_opts: Mapping[str, Any] | None = None
    concurrency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Checked options of jobs, in the form in which they are sent."""

    queue: str
    priority: int
    max_attempts: int
    tags: list[str]
    metadata: str
    run_at: datetime | None
    delay: float | None
    """Seconds after the insert, by the clock of the database; only without ``run_at``."""
    unique: UniqueOptions | None

    def starts(self, now: datetime) -> datetime:
        """Return when a job may run that is inserted now."""
        if self.run_at is not None:
            return self.run_at
        return now if self.delay is None else now + timedelta(seconds=self.delay)


def checked(given: InsertOptions, extra: Mapping[str, str | None]) -> Options:
    """Check complete options; ``extra`` goes into the metadata.  Raises ValidationError."""
    run_at, delay = _start(given["run_at"], given["delay"])
    return Options(
        queue=name_of("queue", given["queue"]),
        priority=number_of("priority", given["priority"], *_PRIORITIES),
        max_attempts=number_of("max_attempts", given["max_attempts"], *_ATTEMPTS),
        tags=_tags(given["tags"]),
        metadata=_metadata(given["metadata"], extra),
        run_at=run_at,
        delay=delay,
        unique=_unique(given["unique"], given["unique_opts"]),
    )


def checked_of(
    job: NewJob,
    shared: Options,
    metadata: Mapping[str, Any] | None,
    extra: Mapping[str, str | None],
) -> Options:
    """Return the checked options of one job: its own if given, else the shared options."""
    run_at, delay = _start(job.run_at, job.delay)
    if run_at is None and delay is None:
        run_at, delay = shared.run_at, shared.delay
    unique = _unique(job.unique, job.unique_opts)
    return Options(
        queue=shared.queue if job.queue is None else name_of("queue", job.queue),
        priority=shared.priority
        if job.priority is None
        else number_of("priority", job.priority, *_PRIORITIES),
        max_attempts=shared.max_attempts
        if job.max_attempts is None
        else number_of("max_attempts", job.max_attempts, *_ATTEMPTS),
        tags=shared.tags if job.tags is None else _tags(job.tags),
        metadata=shared.metadata
        if job.metadata is None and job.concurrency_key is None
        else _metadata(
            metadata if job.metadata is None else job.metadata,
            extra
            if job.concurrency_key is None
            else {**extra, CONCURRENCY_KEY: job.concurrency_key},
        ),
        run_at=run_at,
        delay=delay,
        unique=shared.unique if unique is None else unique,
    )


def _start(run_at: object, delay: object) -> tuple[datetime | None, float | None]:
    if run_at is not None and delay is not None:
        raise ValidationError(
            "run_at and delay were both given", why="each of them says when the job may run"
        )
    return (
        None if run_at is None else moment_of(run_at),
        None if delay is None else seconds_of("delay", delay),
    )


def _unique(unique: object, numbers: object) -> UniqueOptions | None:
    if unique is not None and numbers is not None:
        raise ValidationError(
            "unique and unique_opts were both given", why="each of them says the whole key"
        )
    if unique is None:
        return None if numbers is None else UniqueOptions.parse(numbers)
    if isinstance(unique, UniqueOptions):  # a command has read words already
        return unique
    if not isinstance(unique, Unique):
        raise ValidationError(
            f"unique must be an awa_lib.Unique, got {type(unique).__name__}",
            hint="for example unique=awa.Unique(by='args', period='1h')",
        )
    return unique.options()


def _metadata(metadata: Mapping[str, Any] | None, extra: Mapping[str, str | None]) -> str:
    # The layout of awa 0.5 has no column for these, so they go into the metadata.
    text = "{}" if metadata is None else encode_object(metadata, name="metadata")
    ours = {key: value for key, value in extra.items() if value is not None}
    if CONCURRENCY_KEY in ours:
        name_of("concurrency_key", ours[CONCURRENCY_KEY])
    return dumps({**loads(text), **ours}) if ours else text


def _tags(tags: object) -> list[str]:
    if tags is None:
        return []
    if not isinstance(tags, list | tuple | set | frozenset):
        raise ValidationError(f"tags must be a list of texts: {tags!r}")
    if len(tags) > _TAGS:
        raise ValidationError(f"tags must be at most {_TAGS}, got {len(tags)}: {tags!r}")
    for tag in tags:
        if not isinstance(tag, str) or not storable(tag):
            raise ValidationError(f"tags must be texts without NUL characters: {tag!r}")
    return list(tags)


def takes_options(function: F) -> F:
    """Show the options of an insert in a signature, in place of ``**options``.  A decorator."""
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=InsertOptions.__annotations__[name].__forward_arg__,
        )
        for name, default in _DEFAULTS.items()
    ]
    place = sum(one.kind is not one.KEYWORD_ONLY for one in own)
    shown = [*own[:place], *options, *own[place:]]
    function.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined] # inspect reads it
    return function
