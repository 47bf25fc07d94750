"""Keep what a run logs in memory: its last records, as they are stored."""

from __future__ import annotations

import logging
from collections import deque
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

from awa_lib._json import dumps
from awa_lib.ops.job_logs import RunLog

__all__ = ["CAPTURE", "LogBuffer", "capturing"]

# The CHECK of the column lines.
_LIMIT: Final = 65_536
_NAME_LENGTH: Final = 200
_MESSAGE_LENGTH: Final = 8_000
_EXCEPTION_LENGTH: Final = 16_000
# Of a record that is too long in bytes: a character takes six at most, as an escape.
_SHORT_LENGTH: Final = 2_000
_FORMATTER: Final = logging.Formatter()


class LogBuffer:
    """The last records of a run, at most 64 kB.

    The log handler adds records under its lock, in any thread.
    """

    __slots__ = (
        "_lines",
        "_size",
        "attempt",
        "closed",
        "dropped",
        "job_id",
        "lease",
        "records",
        "written",
    )

    def __init__(self, job_id: int, lease: int, attempt: int) -> None:
        self.job_id, self.lease, self.attempt = job_id, lease, attempt
        self._lines: deque[bytes] = deque()
        self._size = 0
        self.records = self.dropped = 0
        # Of the records, how many the table knows of.
        self.written = 0
        # The handler has ended.
        self.closed = False

    @property
    def has_news(self) -> bool:
        """Return True when there are records that are not written."""
        return self.written < self.records

    @property
    def size(self) -> int:
        """Return the number of bytes that are kept."""
        return self._size

    def add(self, line: bytes) -> None:
        """Add a record, and drop the oldest beyond the limit."""
        self._lines.append(line)
        self._size += len(line) + 1
        self.records += 1
        while self._size > _LIMIT:
            self._size -= len(self._lines.popleft()) + 1
            self.dropped += 1

    def state(self) -> RunLog:
        """Return what is kept now; call it under the lock of the log handler."""
        lines = b"\n".join(self._lines).decode()
        return RunLog(self.job_id, self.lease, self.attempt, lines, self.records, self.dropped)


capturing: Final[ContextVar[LogBuffer | None]] = ContextVar("awa log", default=None)
"""Where the records of this context go; the worker sets it for a run whose logs are kept."""


class _CaptureHandler(logging.Handler):
    """A log handler of the root logger that keeps the records of runs."""

    def __init__(self) -> None:
        super().__init__()
        self._users: set[object] = set()

    def install(self, user: object) -> None:
        """Listen to the loggers of the program, until the last user has removed it."""
        self._users.add(user)
        root = logging.getLogger()
        if self not in root.handlers:
            root.addHandler(self)

    def remove(self, user: object) -> None:
        """Stop listening for one user."""
        self._users.discard(user)
        if not self._users:
            logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of a run; raises nothing."""
        buffer = capturing.get()
        if buffer is not None and not buffer.closed:
            try:
                buffer.add(_line(record))
            except Exception:  # noqa: BLE001 - the code of a user's __str__ may raise anything
                self.handleError(record)
        if len(logging.root.handlers) == 1 and _is_only(self, record.name):
            self._last_resort(record)

    @staticmethod
    def _last_resort(record: logging.LogRecord) -> None:
        """Write a record that no other log handler gets, as Python does without any handler."""
        resort = logging.lastResort
        if resort is not None and record.levelno >= resort.level:
            resort.handle(record)


CAPTURE: Final = _CaptureHandler()
"""One for all workers of a process: two would keep a record twice."""


def _is_only(handler: logging.Handler, name: str) -> bool:
    """Return whether no other log handler gets the records of a logger."""
    current: logging.Logger | None = logging.getLogger(name)
    while current is not None:
        if any(other is not handler for other in current.handlers):
            return False
        current = current.parent if current.propagate else None
    return True


def _line(record: logging.LogRecord) -> bytes:
    message, exception = record.getMessage(), _exception(record)
    line = _encoded(record, message[:_MESSAGE_LENGTH], exception and exception[-_EXCEPTION_LENGTH:])
    if len(line) < _LIMIT:
        return line
    return _encoded(record, message[:_SHORT_LENGTH], exception and exception[-_SHORT_LENGTH:])


def _encoded(record: logging.LogRecord, message: str, exception: str | None) -> bytes:
    # By hand: the encoder takes 4 µs longer for a dict.
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    level, name = dumps(record.levelname[:_NAME_LENGTH]), dumps(record.name[:_NAME_LENGTH])
    last = f',"exception":{dumps(exception)}' if exception else ""
    line = f'{{"time":"{time}","level":{level},"logger":{name},"message":{dumps(message)}{last}}}'
    # A lone surrogate is no character.  A NUL is an escape, which text can hold.
    return line.encode("utf-8", "replace")


def _exception(record: logging.LogRecord) -> str | None:
    if record.exc_text:
        return record.exc_text
    return _FORMATTER.formatException(record.exc_info) if record.exc_info else None
