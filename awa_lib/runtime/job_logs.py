"""Keep what handlers log, for the kinds and queues that ask for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, Transient, Unavailable
from awa_lib.logs import Logger
from awa_lib.ops.job_logs import RunLog, write_job_logs
from awa_lib.runtime.log_buffer import CAPTURE, LogBuffer, capturing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from awa_lib._sql import Op
    from awa_lib.config.queues import QueueOptions
    from awa_lib.runtime.context import Attempt
    from awa_lib.runtime.handlers import Handler
    from awa_lib.runtime.links import Link

__all__ = ["JobLogs"]

logger = Logger(__name__)

_BYTES_PER_STATEMENT: Final = 4_000_000
_LOGS_PER_STATEMENT: Final = 500
# Logs of runs that have ended and could not be written: the oldest beyond this are dropped.
_MOST_LEFT: Final = 1_000
_NOT_WRITTEN: Final = "what %d jobs have logged cannot be written (%s) and is dropped"


class JobLogs:
    """The logs of the runs of a process, from begin to write.

    The heartbeat writes what is new at each of its rounds, so that a killed run keeps it; the
    completer writes the rest before the end of a run.  Trouble with logs ends no run and costs no
    lease: what the completer cannot write is left to the heartbeat.
    """

    def __init__(self, handlers: Mapping[str, Handler], queues: Iterable[QueueOptions]) -> None:
        self._kinds = {kind: handler.capture_logs for kind, handler in handlers.items()}
        self._queues = {queue.name for queue in queues if queue.capture_logs}
        self._kept: dict[tuple[int, int], LogBuffer] = {}
        self._trouble = False
        self.active = bool(self._queues) or any(self._kinds.values())
        """Whether any job of this process keeps its logs."""

    def install(self) -> None:
        """Begin to listen to the loggers of the program."""
        if self.active:
            CAPTURE.install(self)

    def remove(self) -> None:
        """Stop listening."""
        CAPTURE.remove(self)

    @contextmanager
    def of(self, attempt: Attempt) -> Iterator[None]:
        """Keep what is logged in the context of the block, if the attempt's job asks for it."""
        job = attempt.job
        wanted = self._kinds.get(job.kind)
        if not (job.queue in self._queues if wanted is None else wanted):
            yield
            return
        # Again: the program may have configured its logging since.
        self.install()
        buffer = LogBuffer(job.id, attempt.lease, job.attempt)
        self._kept[job.id, attempt.lease] = buffer
        capturing.set(buffer)
        try:
            yield
        finally:
            buffer.closed = True

    async def write(self, attempts: Iterable[Attempt], link: Link) -> None:
        """Write what is new of attempts that end.  Raises Unavailable alone."""
        if self._trouble or not self._kept:
            return
        keys = [(attempt.job.id, attempt.lease) for attempt in attempts]
        found = [self._kept[key] for key in keys if key in self._kept]
        for part in self._parts(found):
            try:
                await link.run(write_job_logs(part))
            except Unavailable:
                raise
            except AwaError as error:
                logger.debug("logs are left to the heartbeat", exc_info=error)
                self._trouble = True
                return
            self._mark(part)
        self._forget(found)

    def write_sync(self, ask: Callable[[Callable[[], Op[None]]], None]) -> None:
        """Write what is new of all runs, from the thread of the heartbeat.

        Raises Unavailable alone.
        """
        kept = list(self._kept.values())
        self._trouble = False
        for part in self._parts(kept):
            try:
                ask(lambda part=part: write_job_logs(part))  # type: ignore[misc] # bound now
            except Unavailable:
                raise
            except AwaError as error:
                self._trouble = True
                self._give_up(part, error)
            else:
                self._mark(part)
        self._forget(kept)

    def _parts(self, buffers: Iterable[LogBuffer]) -> Iterator[Sequence[RunLog]]:
        """Yield the logs with news, sorted by id, in statements of a bounded size."""
        part: list[RunLog] = []
        size = 0
        for buffer in sorted(buffers, key=lambda one: (one.job_id, one.lease)):
            if not buffer.has_news:
                continue
            if len(part) == _LOGS_PER_STATEMENT or size + buffer.size > _BYTES_PER_STATEMENT:
                yield part
                part, size = [], 0
            part.append(self._state(buffer))
            size += buffer.size
        if part:
            yield part

    def _state(self, buffer: LogBuffer) -> RunLog:
        # Other threads log meanwhile.
        CAPTURE.acquire()
        try:
            return buffer.state()
        finally:
            CAPTURE.release()

    def _mark(self, part: Iterable[RunLog]) -> None:
        for log in part:
            if buffer := self._kept.get((log.job_id, log.run_lease)):
                buffer.written = max(buffer.written, log.records)

    def _forget(self, buffers: Iterable[LogBuffer]) -> None:
        for buffer in buffers:
            if buffer.closed and not buffer.has_news:
                self._kept.pop((buffer.job_id, buffer.lease), None)

    def _give_up(self, part: Sequence[RunLog], error: AwaError) -> None:
        """Drop logs that the database refuses, and of those that are only late the oldest."""
        if isinstance(error, Transient):
            closed = [key for key, buffer in list(self._kept.items()) if buffer.closed]
            left = closed[: max(0, len(closed) - _MOST_LEFT)]
        else:
            self._mark(part)
            left = [(log.job_id, log.run_lease) for log in part]
        for key in left:
            if (buffer := self._kept.get(key)) and buffer.closed:
                self._kept.pop(key, None)
        if left:
            logger.warning(_NOT_WRITTEN, len(left), error)
