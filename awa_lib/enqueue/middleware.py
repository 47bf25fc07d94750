"""Functions that the jobs of an insert go through before they are checked and encoded."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from awa_lib.enqueue.options import InsertOptions, NewJob, complete, merged
from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.enqueue.kinds import Kinds
    from awa_lib.enqueue.options import InsertMiddleware

__all__ = ["through_middleware"]


def through_middleware(
    jobs: Sequence[Any], kinds: Kinds, options: InsertOptions
) -> tuple[Sequence[Any], InsertOptions]:
    """Return jobs and shared options as the insert middleware of ``kinds`` leaves them.

    Jobs that it leaves alone are returned as they were given, and go the same fast way.  Raises
    what the middleware raises, and ValidationError for what it may not return.
    """
    if not kinds.insert_functions or not jobs:
        return jobs, options
    whole = _Whole(kinds, options)
    before = [whole.of(job) for job in jobs]
    after = before
    for function in kinds.insert_functions:
        # A copy, because a function may change its list in place.
        after = _returned(function, list(after))
    if all(map(operator.is_, before, after)):
        return jobs, options
    return after, {}


class _Whole:
    """Gives each job every option with which it is inserted."""

    def __init__(self, kinds: Kinds, options: InsertOptions) -> None:
        complete(options)  # an unknown option shows here
        self._kinds, self._options = kinds, options
        self._of_type: dict[type, InsertOptions] = {}

    def of(self, job: Any) -> NewJob:
        if type(job) is NewJob:
            return NewJob(job.args, **self._with(job))
        options = self._of_type.get(type(job))
        if options is None:
            options = self._of_type[type(job)] = self._all(job, self._options)
        return NewJob(job, **options)

    def _with(self, job: NewJob) -> InsertOptions:
        own: Any = {
            name: value
            for name in InsertOptions.__annotations__
            if (value := getattr(job, name)) is not None
        }
        shared: Any = self._options
        if "run_at" in own or "delay" in own:
            shared = {name: shared[name] for name in shared if name not in ("run_at", "delay")}
        return self._all(job.args, merged(shared, own))

    def _all(self, args: Any, given: InsertOptions) -> InsertOptions:
        kind = self._kinds.name_of(args, given.get("kind"))
        return {**complete(merged(self._kinds.options(kind), given)), "kind": kind}


def _returned(function: InsertMiddleware, jobs: list[NewJob]) -> list[NewJob]:
    count = len(jobs)
    result: object = function(jobs)
    if not isinstance(result, list) or len(result) != count or set(map(type, result)) != {NewJob}:
        got = f"{len(result)} items" if isinstance(result, list) else f"a {type(result).__name__}"
        raise ValidationError(
            f"the insert middleware {getattr(function, '__name__', repr(function))} must return"
            f" a list of {count} NewJob objects, one for each that it was given",
            why=f"it returned {got}",
            hint="return the jobs, changed with dataclasses.replace; raise an error to refuse them",
        )
    return result
