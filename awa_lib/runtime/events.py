"""Hooks that get events after the commit, and follow-ups that are part of the transaction."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from awa_lib import events
from awa_lib._json import loads
from awa_lib.enqueue.kinds import Kinds, kind_of
from awa_lib.enqueue.middleware import through_middleware
from awa_lib.enqueue.new_jobs import NewJobs, check
from awa_lib.errors import AwaError, Transient, ValidationError
from awa_lib.logs import Logger
from awa_lib.ops.jobs import get_jobs
from awa_lib.runtime.callables import is_async_callable
from awa_lib.runtime.context import CANCELLED
from awa_lib.runtime.deliveries import Deliveries
from awa_lib.runtime.links import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from awa_lib.events import Event
    from awa_lib.models import Job
    from awa_lib.runtime.callbacks import OpRunner
    from awa_lib.runtime.context import Attempt, Outcome
    from awa_lib.runtime.handlers import Handler

__all__ = ["Events", "Registry"]

logger = Logger(__name__)

_STOP_SECONDS: Final = 5.0
# After this many failed reads hooks get the jobs as the handlers had them.
_READ_ATTEMPTS: Final = 4
_BEFORE_THE_END: Final = (events.Started, events.Rescued)


@dataclass(slots=True)
class Registry:
    """Hooks and follow-ups by kind, each with the classes of events it is called for."""

    kinds: Kinds = field(default_factory=Kinds)
    hooks: dict[str, list[_Registered]] = field(default_factory=dict)
    follow_ups: dict[str, list[_Registered]] = field(default_factory=dict)

    def add(
        self,
        where: dict[str, list[_Registered]],
        kind: type[Any] | str,
        classes: Sequence[type[Event]],
        call: Callable[[Any], Any],
    ) -> None:
        """Register a function.  Raises ValidationError."""
        for cls in classes:
            if not (isinstance(cls, type) and issubclass(cls, events.Event)):
                raise ValidationError(f"events must be classes of awa_lib.events, got {cls!r}")
            if where is self.follow_ups and issubclass(cls, _BEFORE_THE_END):
                raise ValidationError(
                    f"{cls.__name__} has no follow-up",
                    why="a follow-up is written in the transaction that ends an attempt",
                    hint="use on_event instead, which runs after the commit",
                )
        if not callable(call):
            raise TypeError(f"a hook must be callable, got {call!r}")
        if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
            raise TypeError(
                f"a hook must not be a generator: the body of {call.__name__} would not run"
            )
        if where is self.follow_ups and is_async_callable(call):
            raise TypeError("a follow-up must be a plain function: it only returns what to enqueue")
        if not isinstance(kind, type | str):
            raise ValidationError(f"kind must be a name or the type of the args, got {kind!r}")
        name = kind_of(None, kind) if isinstance(kind, str) else kind_of(kind)
        where.setdefault(name, []).append(_Registered(tuple(classes) or (events.Event,), call))


@dataclass(frozen=True, slots=True)
class _Registered:
    classes: tuple[type[Event], ...]
    call: Callable[[Any], Any]


class Events:
    """Deliver the events of a process to hooks; costs nothing for kinds without a hook.

    Hooks of an event run one after the other, and events of a job in order; events of different
    jobs are delivered concurrently.  An error of a hook is logged and affects no job.  Hooks get
    committed events only; a crash loses those that were not delivered.  While the process runs
    nothing is dropped: when too many events wait, ``has_room`` is False and no jobs are claimed.
    """

    def __init__(self, registry: Registry, handlers: Mapping[str, Handler], link: OpRunner) -> None:
        self._hooks = registry.hooks
        self._follow_ups = registry.follow_ups
        self._kinds = registry.kinds
        self._handlers = handlers
        self._link = link
        self._deliveries = Deliveries(self._deliver)
        # Spare a call for every job when nothing is registered.
        self.hooked = bool(registry.hooks)
        self.followed = bool(registry.follow_ups)

    @property
    def has_room(self) -> bool:
        """Return False while claims should wait for the hooks to catch up."""
        return self._deliveries.has_room

    def started(self, attempt: Attempt) -> None:
        """Deliver that an attempt begins."""
        if attempt.job.kind in self._hooks:
            self._deliveries.add(events.Started(attempt.job))

    def waiting(self, attempt: Attempt) -> None:
        """Deliver that a handler waits for a callback."""
        if attempt.job.kind in self._hooks:
            self._deliveries.add(events.Waiting(attempt.job))

    def cancelled(self, attempt: Attempt) -> None:
        """Deliver that an operator cancelled a running job."""
        if attempt.job.kind in self._hooks:
            event = events.Cancelled(attempt.job, "cancelled by an operator")
            self._deliveries.prepare(self._reread([(attempt.job.id, event)]), 1)

    def ended(self, ends: Iterable[tuple[Attempt, Outcome | None]]) -> None:
        """Deliver ends that are committed."""
        if not self._hooks:
            return
        hooked = [(a.job.id, _event(a, o)) for a, o in ends if a.job.kind in self._hooks]
        found = [(job_id, event) for job_id, event in hooked if event is not None]
        if found:
            self._deliveries.prepare(self._reread(found), len(found))

    def rescued(self, jobs: Iterable[tuple[int, str]]) -> None:
        """Deliver that the leader rescued jobs, given as (id, kind)."""
        ids = [job_id for job_id, kind in jobs if kind in self._hooks]
        if ids:
            self._deliveries.prepare(self._deliver_rescued(ids), len(ids))

    def follow_up(self, attempt: Attempt, outcome: Outcome | None) -> NewJobs | None:
        """Return what to enqueue with the end of an attempt.  Raises what the follow-up raises."""
        wanted = self._follow_ups.get(attempt.job.kind)
        event = _event(attempt, outcome) if wanted else None
        if not wanted or event is None:
            return None
        parts = [
            self._new_jobs(made if isinstance(made, list) else [made])
            for function in wanted
            if isinstance(event, function.classes) and (made := function.call(event)) is not None
        ]
        return NewJobs.merge(parts) if parts else None

    def _new_jobs(self, made: list[Any]) -> NewJobs:
        jobs, options = through_middleware(made, self._kinds, {})
        return check(jobs, kinds=self._kinds, **options)

    async def _reread(self, found: list[tuple[int, Event]]) -> None:
        """Deliver events with their jobs as they are after the commit."""
        fresh = await self._jobs([job_id for job_id, _ in found])
        for job_id, event in found:
            job = fresh.get(job_id, event.job)
            job._args = event.job._args  # noqa: SLF001 - decoded for the handler already
            self._deliveries.add(_with(event, job))

    async def _deliver_rescued(self, ids: list[int]) -> None:
        for job in (await self._jobs(ids)).values():
            try:
                job._args = self._handlers[job.kind].decode(loads(job._raw_args))  # noqa: SLF001 - as for a handler
            except KeyError:
                pass  # a hook of a kind that another process handles gets plain data
            except Exception:  # noqa: BLE001 - any model may raise anything
                logger.warning(
                    "the args of a rescued job cannot be read; its hooks are not called",
                    extra={"job_id": job.id},
                )
                continue
            reason = job.errors[-1]["error"] if job.errors else ""
            self._deliveries.add(events.Rescued(job, reason, job.attempt))

    async def _jobs(self, ids: Sequence[int]) -> dict[int, Job]:
        failures = 0
        while True:
            try:
                return {job.id: job for job in await self._link.run(get_jobs(ids))}
            except Transient as error:
                failures += 1
                if failures == _READ_ATTEMPTS:
                    return _not_read(error)
                await pause(failures)
            except AwaError as error:
                return _not_read(error)

    async def _deliver(self, event: Event) -> None:
        for wanted in self._hooks.get(event.job.kind, ()):
            if isinstance(event, wanted.classes):
                await self._deliveries.call(wanted.call, event)

    async def stop(self, seconds: float) -> None:
        """Wait for running hooks, for at most ``seconds`` and at most five seconds."""
        await self._deliveries.stop(min(seconds, _STOP_SECONDS))


def _not_read(error: AwaError) -> dict[int, Job]:
    """Log that hooks get their jobs as the handlers had them."""
    logger.warning(
        "jobs could not be read for hooks; they get the jobs as the handlers had them",
        extra={"error": str(error)},
    )
    return {}


def _event(attempt: Attempt, outcome: Outcome | None) -> Event | None:
    """Return the event of an end; None when it has none (snoozed, handed back)."""
    job = attempt.job
    if outcome is None:
        return events.Completed(job, attempt.seconds)
    error = outcome.error or ""
    if outcome.target == "retryable":
        return events.Retried(job, error, job.attempt)
    if outcome.target == "failed":
        kind = events.Failed if outcome.terminal else events.Exhausted
        return kind(job, error, job.attempt)
    if outcome.target == "cancelled":
        return events.Cancelled(job, error.removeprefix(CANCELLED))
    return events.Waiting(job) if outcome.target == "waiting_external" else None


def _with(event: Event, job: Job) -> Event:
    values = {name: getattr(event, name) for name in event.__dataclass_fields__ if name != "job"}
    return type(event)(job=job, **values)
