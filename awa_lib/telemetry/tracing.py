"""OpenTelemetry traces from enqueue to execution.

Nothing is imported until the application has loaded OpenTelemetry.  A span takes the SDK at least
20 µs, three times the worker's own time for a job.  So attempts have a span of their own up to a
limit per second; above it only failed attempts have one, and the rest of a flush shares one span
per kind and queue.
"""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider

    from awa_lib.models import Job

__all__ = ["TRACEPARENT", "Allowance", "Tracing", "traceparent", "tracing"]

TRACEPARENT: Final = "_awa_traceparent"
"""The key in a job's metadata of the span it was enqueued in, in W3C form."""
_NAME: Final = "awa"


class Attempt(Protocol):
    """What a span records of an attempt."""

    @property
    def job(self) -> Job:
        """The job as it was claimed."""
        ...

    @property
    def began(self) -> float:
        """When the handler was called, in seconds of ``time.perf_counter``."""
        ...

    @property
    def ran(self) -> float:
        """How long the handler ran, in seconds."""
        ...

    @property
    def spanned(self) -> bool:
        """True when the attempt has a span of its own."""
        ...


class Outcome(Protocol):
    """What a span records of an attempt that did not complete."""

    @property
    def error(self) -> str | None:
        """The error, with its traceback."""

    @property
    def error_type(self) -> str | None:
        """The qualified name of the exception."""


E = TypeVar("E", bound=Outcome)


def traceparent() -> str | None:
    """Return the current span for a job's metadata, or None without tracing."""
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def tracing() -> Tracing | None:
    """Return the maker of spans, or None until the application has set a tracer provider."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return _tracing(trace.get_tracer_provider())


@lru_cache(maxsize=1)
def _tracing(provider: TracerProvider) -> Tracing:
    return Tracing(provider)


class Allowance:
    """A limit of records per second; unused records are kept for one second."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = max(1.0, per_second)
        self._at = time.perf_counter()

    def take(self, wanted: int) -> int:
        """Return how many of ``wanted`` records are allowed now."""
        now = time.perf_counter()
        saved = self._left + (now - self._at) * self._per_second
        self._left, self._at = min(max(1.0, self._per_second), saved), now
        granted = min(wanted, int(self._left))
        self._left -= granted
        return granted


class Tracing:
    """Makes spans of attempts and of batches of attempts."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation import tracecontext

        self._tracer = provider.get_tracer(_NAME)
        self._context, self._trace = context, trace
        self._origin = tracecontext.TraceContextTextMapPropagator()
        # Otherwise the parent would be the span in which the worker was started.
        self._nothing = context.Context()

    async def run(self, attempt: Attempt, work: Coroutine[Any, Any, E | None]) -> E | None:
        """Run an attempt in a span whose parent is the span its job was enqueued in.

        A parent, not a link: a job has one origin, and a trace should show the whole request.
        Call it in a task of its own: the span stays in the context of the task.
        """
        parent = self._parent(attempt.job)
        span = self._start(attempt, parent)
        self._context.attach(self._trace.set_span_in_context(span, parent))
        try:
            outcome = await work
            self._finish(span, outcome)
            return outcome
        finally:
            span.end()

    def leave(self) -> None:
        """Leave the trace in which the worker was started; for the task that starts attempts."""
        self._context.attach(self._nothing)

    def enter(self, attempt: Attempt) -> None:
        """Continue the trace of the enqueue in a task that has no span of its own."""
        # Attaching costs 2 µs, and few jobs have an origin.
        if (parent := self._parent(attempt.job)) is not self._nothing:
            self._context.attach(parent)

    def ended(self, ends: Iterable[tuple[Attempt, Outcome | None]]) -> None:
        """Record attempts without a span: each failure, and the others by kind and queue."""
        batches: dict[tuple[str, str], list[Attempt]] = {}
        for attempt, outcome in ends:
            if attempt.spanned:
                continue
            if outcome is None or outcome.error is None:
                batches.setdefault((attempt.job.kind, attempt.job.queue), []).append(attempt)
                continue
            start = _since(attempt.began)
            span = self._start(attempt, self._parent(attempt.job), start)
            self._finish(span, outcome)
            span.end(start + int(attempt.ran * 1e9))
        for (kind, queue), batch in batches.items():
            self._tracer.start_span(
                f"job.batch {kind}",
                context=self._nothing,
                kind=self._trace.SpanKind.CONSUMER,
                attributes={"job.kind": kind, "job.queue": queue, "job.count": len(batch)},
                start_time=_since(min(attempt.began for attempt in batch)),
            ).end()

    def _parent(self, job: Job) -> Context:
        # Not decoded for most jobs, which were enqueued without a span.
        if not job._metadata or TRACEPARENT not in job._metadata:  # noqa: SLF001 - the text, undecoded
            return self._nothing
        origin = job.metadata.get(TRACEPARENT)
        if not isinstance(origin, str):
            return self._nothing
        return self._origin.extract({"traceparent": origin}, self._nothing)

    def _start(self, attempt: Attempt, parent: Context, start: int | None = None) -> Span:
        job = attempt.job
        return self._tracer.start_span(
            f"job.execute {job.kind}",
            context=parent,
            kind=self._trace.SpanKind.CONSUMER,
            attributes={
                "job.id": job.id,
                "job.kind": job.kind,
                "job.queue": job.queue,
                "job.attempt": job.attempt,
            },
            start_time=start,
        )

    def _finish(self, span: Span, outcome: Outcome | None) -> None:
        if outcome is None or outcome.error is None:
            span.set_status(self._trace.StatusCode.OK)
            return
        first = outcome.error.partition("\n")[0]
        span.add_event(
            "exception",
            {
                "exception.type": outcome.error_type or "",
                "exception.message": first,
                "exception.stacktrace": outcome.error,
            },
        )
        span.set_status(self._trace.StatusCode.ERROR, first)


def _since(began: float) -> int:
    """Return a moment of ``time.perf_counter`` as nanoseconds since 1970."""
    return time.time_ns() - int((time.perf_counter() - began) * 1e9)
