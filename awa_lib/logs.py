"""Logging with the fields of the running job, in tasks and in threads."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TextIO

from awa_lib._json import dumps

if TYPE_CHECKING:
    from awa_lib.models import Job

__all__ = [
    "JobFilter",
    "JsonFormatter",
    "Logger",
    "PlainFormatter",
    "configure",
    "current_job",
    "running",
]

running: Final[ContextVar[Job | None]] = ContextVar("awa job", default=None)
"""The job whose handler runs in this context; the worker sets it."""

_FIELDS: Final = {
    "job_id": "id",
    "job_kind": "kind",
    "job_queue": "queue",
    "job_attempt": "attempt",
}
# The attributes of every record; the others came from ``extra=``.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def current_job() -> Job | None:
    """Return the job whose handler runs in this task or thread, or None."""
    return running.get()


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger of this library: what the program's log handlers and filters raise harms nothing.

    A full disk or a closed stream must not end a duty of the worker.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.getLogger(name), None)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log, if anything can."""
        if self.isEnabledFor(level):
            with suppress(Exception):
                # The place of the record is that of the caller.
                kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
                self.logger.log(level, msg, *args, **kwargs)


class JobFilter(logging.Filter):
    """Add ``job_id``, ``job_kind``, ``job_queue`` and ``job_attempt`` to each record.

    They are None outside a job.  Add it to a handler: ``handler.addFilter(JobFilter())``.  Values
    given with ``extra=`` stay.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields and let the record pass."""
        job = running.get()
        for field, attribute in _FIELDS.items():
            if not hasattr(record, field):
                setattr(record, field, None if job is None else getattr(job, attribute))
        return True


class JsonFormatter(logging.Formatter):
    """Format a record as one line of JSON: time, level, logger, message, job fields and extras."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline."""
        job = running.get()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if job is not None:
            line |= {field: getattr(job, attribute) for field, attribute in _FIELDS.items()}
        line |= {
            key: _plain(value)
            for key, value in vars(record).items()
            if key not in _OWN and not (key in _FIELDS and value is None)
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        # A lone surrogate is no character: the stream could not write it.
        return dumps(line).encode("utf-8", "backslashreplace").decode()


class PlainFormatter(logging.Formatter):
    """Format a record for people: time, level, logger, message, and the fields of ``extra=``.

    Fields that the message names as ``%(field)s`` are not repeated.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, followed by the traceback if there is one."""
        line = super().format(record)
        named = record.args if isinstance(record.args, Mapping) else ()
        extra = [(k, v) for k, v in vars(record).items() if k not in _OWN and k not in named]
        if not extra:
            return line
        first, newline, rest = line.partition("\n")
        pairs = " ".join(f"{key}={value}" for key, value in extra)
        return f"{first}  {pairs}{newline}{rest}"


def configure(
    level: int = logging.INFO,
    *,
    formatter: logging.Formatter | None = None,
    stream: TextIO | None = None,
) -> bool:
    """Write records to stderr, unless the program has configured logging; return whether it did.

    A program has configured logging when the root logger, or that of ``awa_lib``, has a handler.
    Records of this library are written from ``level`` on, those of others from the level of the
    root logger on, which is WARNING by default.  The form is ``PlainFormatter`` by default; in it
    a record that a handler of another logger has written to the stream is not written again.
    """
    root, own = logging.getLogger(), logging.getLogger("awa_lib")
    if root.handlers or own.handlers:
        return False
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter or PlainFormatter())
    if formatter is None:
        handler.addFilter(lambda record: not _is_written(record, handler.stream))
    root.addHandler(handler)
    if own.level == logging.NOTSET:
        own.setLevel(level)
    return True


def _is_written(record: logging.LogRecord, stream: TextIO) -> bool:
    """Return whether a handler below the root has the record: Django's for ``django``, if DEBUG."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        for handler in logger.handlers:
            if (
                isinstance(handler, logging.StreamHandler)
                and handler.stream is stream
                and record.levelno >= handler.level
                and handler.filter(record)
            ):
                return True
        logger = logger.parent
    return False


def _plain(value: Any) -> Any:
    try:
        dumps(value)
    except (TypeError, ValueError):
        return str(value)
    return value
