"""What a program declares before its worker starts: handlers, hooks, queues, schedules."""

from __future__ import annotations

import warnings
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from awa_lib.config.queues import check_flag, declare_queue
from awa_lib.descriptors import Descriptor
from awa_lib.enqueue.kinds import Kinds, is_args_type, kind_of, kind_of_type
from awa_lib.errors import AwaError, ValidationError
from awa_lib.ops.cron import Schedule
from awa_lib.retries import RetryPolicy
from awa_lib.runtime.events import Registry
from awa_lib.runtime.handlers import Handlers
from awa_lib.runtime.http_worker import HttpWorker
from awa_lib.runtime.middleware import Middleware
from awa_lib.validation import name_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import timedelta
    from typing import Unpack

    from awa_lib.descriptors import DescriptorFields
    from awa_lib.enqueue.options import KindOptions
    from awa_lib.enqueue.unique import Unique
    from awa_lib.events import Event
    from awa_lib.retries import Backoff
    from awa_lib.runtime.app import Runtime
    from awa_lib.runtime.handlers import Register, RegisterKept, TaskOptions
    from awa_lib.runtime.middleware import Around

__all__ = ["Declarations"]

A = TypeVar("A")
E = TypeVar("E", bound="Event")
H = TypeVar("H", bound="Callable[..., Any]")


class Declarations:
    """Base class of Worker; AsyncClient provides ``kinds``."""

    kinds: Kinds

    def __init__(self) -> None:
        self._handlers = Handlers(self.kinds.results)
        self._queues: dict[str, dict[str, Any]] = {}
        self._queue_descriptors: dict[str, Descriptor] = {}
        self._kind_descriptors: dict[str, Descriptor] = {}
        self._schedules: dict[str, Callable[[], Schedule]] = {}
        self._registry = Registry(self.kinds)
        self._runtime: Runtime | None = None

    def queue(
        self,
        name: str,
        *,
        concurrency: int = 10,
        min_workers: int = 0,
        weight: int = 1,
        rate_limit: tuple[float, int] | None = None,
        backoff: Backoff | Callable[[int, BaseException], float] | None = None,
        deadline_seconds: float | None = 300.0,
        retention: Mapping[str, float | None] | None = None,
        dead_letters: bool | None = None,
        capture_logs: bool = False,
    ) -> None:
        """Declare how this client works a queue; ``start()`` and ``run()`` then need no list.

        ``concurrency`` is the most jobs that this process runs at once (``max_workers`` in a
        queue's dict); with ``global_max_workers``, ``min_workers`` and ``weight`` apply instead.
        ``rate_limit`` is (jobs a second, burst) of this process.  ``retention`` has
        ``completed_hours`` and ``failed_hours``.  ``dead_letters`` is stored for the whole fleet
        by start(); None leaves it as it is.  With ``capture_logs`` the last 64 kB that a run of its
        jobs logs are kept as long as the job.  A second declaration of a name replaces the first.
        Raises ValueError, TypeError, AwaError after start().
        """
        self._not_running("queue")
        self._queues[name] = declare_queue(
            name_of("queue", name),
            concurrency,
            min_workers=min_workers,
            weight=weight,
            rate_limit=rate_limit,
            backoff=backoff,
            deadline_seconds=deadline_seconds,
            retention=retention,
            dead_letters=dead_letters,
            capture_logs=capture_logs,
        )
        self._handlers.queue_backoffs[name] = backoff

    @overload
    def task(
        self,
        args_type: type[A],
        *,
        result: Literal[False] | None = None,
        **options: Unpack[TaskOptions],
    ) -> Register[A]: ...

    @overload
    def task(
        self,
        args_type: type[A],
        *,
        result: Literal[True] | type[Any],
        result_ttl: float | str | timedelta | None = None,
        result_max_bytes: int | None = None,
        **options: Unpack[TaskOptions],
    ) -> RegisterKept[A]: ...

    def task(
        self,
        args_type: type[A],
        *,
        kind: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        tags: Sequence[str] | None = None,
        unique: Unique | None = None,
        unique_opts: Mapping[str, Any] | None = None,
        backoff: Backoff | Callable[[int, BaseException], float] | None = None,
        retry_on: type[BaseException] | Collection[type[BaseException]] = (),
        discard_on: type[BaseException] | Collection[type[BaseException]] = (),
        result: Any = None,
        result_ttl: float | str | timedelta | None = None,
        result_max_bytes: int | None = None,
        capture_logs: bool | None = None,
    ) -> Any:
        """Register a handler for a kind and return it unchanged, callable and typed as before.

        ``async def`` handlers run on the event loop, plain functions in threads.  The kind is
        derived from ``args_type`` unless given.  Needs no running event loop; a later registration
        of the same kind replaces the earlier one.  ``queue``, ``priority``, ``max_attempts``,
        ``tags``, ``unique`` and ``unique_opts`` are options with which this client inserts jobs of
        the kind; see ``insert``.

        Exceptions of classes in ``discard_on`` cancel the job.  ``TerminalError`` and, when
        ``retry_on`` is given, all classes that are not in it fail the job for good.  All others are
        retried after ``backoff``: ``fixed``, ``linear``, ``exponential`` or a function of attempt
        and error that returns seconds; by default the queue's, otherwise 2, 4, 8, … s plus up to a
        quarter.  ``max_attempts`` lowers the limit of the job.  ``capture_logs`` is that of
        ``queue``, for this kind.  With ``result=True``, or the type of the results, what it returns
        is kept for ``result_ttl`` (seconds, a timedelta, text; by default 7 days), up to
        ``result_max_bytes`` of JSON (by default 1,048,576); see ``result``.  Raises
        ValidationError, TypeError for a handler that takes no job, AwaError after start().
        """
        policy = RetryPolicy.build(backoff, max_attempts, retry_on, discard_on)
        options: KindOptions = {
            "queue": queue,
            "priority": priority,
            "max_attempts": max_attempts,
            "tags": tags,
            "unique": unique,
            "unique_opts": unique_opts,
            "result": result,
            "result_ttl": result_ttl,
            "result_max_bytes": result_max_bytes,
        }  # fmt: skip - the signature lists them a line each
        return self._registering(args_type, kind, options, capture_logs, policy)

    def _registering(
        self,
        args_type: type[Any],
        kind: str | None,
        options: KindOptions,
        capture_logs: bool | None,
        policy: RetryPolicy | None,
    ) -> Callable[[Any], Any]:
        check_flag("capture_logs", capture_logs)
        tried = Kinds()
        tried.results.update(self.kinds.results)
        tried.declare(args_type, kind, **options)  # a mistake shows here
        own = {"policy": policy, "capture_logs": capture_logs}
        return partial(self._register, args_type, kind, options, own)

    def _register(
        self, args_type: type[Any], kind: str | None, options: KindOptions, own: Any, handler: Any
    ) -> Any:
        self._not_running("task")
        name = kind_of_type(args_type, kind)
        where = options.get("queue") or self.kinds.options(name).get("queue", "default")
        self._handlers.add(args_type, handler, name, where, **own)
        self.kinds.declare(args_type, kind, **options)
        self.kinds.handled_by(name, handler)
        return handler

    @overload
    def middleware(
        self, kind: type[Any] | str, /, *kinds: type[Any] | str
    ) -> Callable[[Around], Around]: ...

    @overload
    def middleware(self, function: Around, /) -> Around: ...

    def middleware(self, first: Any, /, *kinds: type[Any] | str) -> Any:
        """Register a function around handlers; the first declared is outermost.

        ``@client.middleware`` is for every handler of its type: an ``async def`` function for
        ``async def`` handlers, a plain function for plain handlers.  ``@client.middleware(Kind)``,
        with names of kinds or types whose names give the kind, is for these kinds alone.

        It takes the job and ``call_next``, a function without arguments that calls the next
        middleware or the handler and returns, or raises, what that does.  What the middleware
        returns or raises is the outcome of the attempt.  It runs in the handler's thread or task,
        before the end of the attempt is written; a cancel or deadline reaches both.

        Raises TypeError for a function of the other type than a handler of a kind that it names,
        ValidationError for a bad kind, AwaError after start().
        """

        def register(function: Any) -> Any:
            self._not_running("middleware")
            self._handlers.surround(Middleware.of(function, frozenset(names)))
            return function

        named = isinstance(first, str) or is_args_type(first)
        names = [
            kind_of(None, one) if isinstance(one, str) else kind_of_type(one)
            for one in ((first, *kinds) if named else kinds)
        ]
        return register if named else register(first)

    def worker(
        self, args_type: type[Any], *, kind: str | None = None, queue: str = "default"
    ) -> Callable[[H], H]:
        """Do as ``task``, under its old name.  Raises as ``task``."""
        warnings.warn(
            "client.worker() is deprecated; use client.task()", DeprecationWarning, stacklevel=2
        )
        return self.task(args_type, kind=kind, queue=queue)  # type: ignore[return-value] # typed as awa 0.5 has it

    def http_worker(
        self,
        kind: str,
        url: str,
        *,
        queue: str = "default",
        mode: str = "async",
        timeout_seconds: float = 30.0,
        callback_timeout_seconds: float = 3_600.0,
        callback_base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        secret: bytes | str | None = None,
        verify: bool | str | ssl.SSLContext = True,
        backoff: Backoff | Callable[[int, BaseException], float] | None = None,
        max_attempts: int | None = None,
    ) -> None:
        """Let a function behind HTTP carry out the jobs of a kind; needs the extra ``http``.

        In async mode a 2xx answer makes the job wait for its callback, in sync mode it completes
        the job.  Server errors, 408, 425 and 429 (after their Retry-After), time-outs and failed
        connections are retried; other answers fail the job for good.  Redirects are not followed.
        ``secret`` is 32 bytes, or 64 hex digits.  Raises ValidationError, AwaError after start().
        """
        worker = HttpWorker(
            url=url,
            mode=mode,
            timeout_seconds=timeout_seconds,
            callback_timeout_seconds=callback_timeout_seconds,
            callback_base_url=callback_base_url,
            headers=headers if headers is not None else {},
            secret=secret,
            verify=verify,
        )
        if find_spec("httpx") is None:
            raise ValidationError(
                "http_worker needs the extra 'http', which is not installed",
                hint="install it: pip install 'awa-toolkit[http]'",
            )
        register = self.task(
            dict, kind=kind, queue=queue, backoff=backoff, max_attempts=max_attempts
        )
        register(worker)

    def on_event(
        self, kind: type[Any] | str, *events: type[Event]
    ) -> Callable[[Callable[[E], Any]], Callable[[E], Any]]:
        """Register a hook that is called for events of a kind's jobs in this process.

        It is called after the commit.  ``events`` are classes of ``awa_lib.events``; by default
        all of them.  Async functions run on the event loop, plain functions in threads; the hooks
        of a kind run in order.  An error is logged and does not affect the job.  A crash loses
        events that were not delivered: use ``follow_up`` for what must happen.  Raises
        ValidationError, TypeError for a hook that cannot be called, AwaError after start().
        """

        def register(hook: Callable[[E], Any]) -> Callable[[E], Any]:
            self._not_running("on_event")
            self._registry.add(self._registry.hooks, kind, events, hook)
            return hook

        return register

    def follow_up(
        self, kind: type[Any] | str, *events: type[Event]
    ) -> Callable[[Callable[[E], Any]], Callable[[E], Any]]:
        """Register what to enqueue in the transaction that ends a kind's attempt.

        The plain function gets the event before the commit and returns args, a ``NewJob``, a list
        of these, or None.  The jobs are written together with the end of the attempt; jobs whose
        unique key is taken are left out.  When it raises, the attempt fails.  Raises as
        ``on_event``, and TypeError for a coroutine function.
        """

        def register(make: Callable[[E], Any]) -> Callable[[E], Any]:
            self._not_running("follow_up")
            self._registry.add(self._registry.follow_ups, kind, events, make)
            return make

        return register

    def periodic(
        self,
        name: str,
        cron_expr: str,
        args_type: type[Any],
        args: Any,
        *,
        timezone: str = "UTC",
        queue: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        kind: str | None = None,
        missed_fire_policy: str = "coalesce",
        catch_up_limit: int = 100,
        jitter_seconds: float = 0,
    ) -> None:
        """Declare a schedule: a job with these args at each fire of ``cron_expr``.

        ``cron_expr`` has five or six fields (seconds first) or is ``@daily`` or the like, in an
        IANA time zone; see ``awa_lib.cron`` for clock changes.  The schedule is written when
        start() runs, and the leader of the fleet fires it, whichever worker handles the kind.  Of
        fires that were missed without a leader, coalesce enqueues the newest, catch_up the newest
        ``catch_up_limit``.  A job runs at most ``jitter_seconds`` (at random) after its fire.  The
        kind is derived from ``args_type`` unless given; queue, priority, max_attempts and tags that
        are not given are those declared for the kind.  A second declaration of a name replaces the
        first.  Raises ValidationError, SerializationError, AwaError after start().
        """
        self._not_running("periodic")
        build = partial(
            Schedule.build,
            name,
            cron_expr,
            args,
            self.kinds,
            kind=kind_of_type(args_type, kind),
            timezone=timezone,
            queue=queue,
            priority=priority,
            max_attempts=max_attempts,
            tags=tags,
            metadata=metadata,
            missed_fire_policy=missed_fire_policy,
            catch_up_limit=catch_up_limit,
            jitter_seconds=jitter_seconds,
        )
        build()  # a mistake shows here
        # Built again at the start, when the options of all kinds are declared.
        self._schedules[name] = build

    def _declared_schedules(self) -> list[Schedule]:
        return [build() for build in self._schedules.values()]

    def queue_descriptor(self, queue: str, **fields: Unpack[DescriptorFields]) -> None:
        """Describe a queue for operators: display_name, description, owner, docs_url, tags, extra.

        Call it before start(), which publishes it.  A second call for the queue replaces the first.
        Raises ValidationError for a value out of bounds, AwaError after start().
        """
        self._not_running("queue_descriptor")
        self._queue_descriptors[name_of("queue", queue)] = Descriptor.of(fields)

    def job_kind_descriptor(self, kind: str, **fields: Unpack[DescriptorFields]) -> None:
        """Describe a kind for operators.  See ``queue_descriptor``; raises as it does."""
        self._not_running("job_kind_descriptor")
        self._kind_descriptors[name_of("kind", kind)] = Descriptor.of(fields)

    def _not_running(self, verb: str) -> None:
        if self._runtime is not None:
            raise AwaError(f"{verb}() must be called before start()")
