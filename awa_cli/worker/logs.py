"""Log records of long-running commands on stderr, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TextIO

from awa_lib.logs import JsonFormatter, configure

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["JsonLines", "set_up", "write_json"]

_ERRORS: Final = ("error:", "Traceback (most recent call last)")
_formatter: Final = JsonFormatter()


class JsonLines:
    """A stream in place of stderr: what is written to it as text becomes a JSON object.

    A text is complete with the write that ends in a newline, so a message of several lines, or a
    traceback that is written at once, is one object.  A line that is a JSON object passes as it
    is.  May be used from several threads.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        # A signal handler may write while its thread writes.
        self._lock = threading.RLock()
        # What print() writes in two parts must not be mixed with what another thread writes.
        self._local = threading.local()

    def write(self, text: str) -> int:
        """Write the text, when it is complete."""
        self._parts.append(text)
        if text.endswith("\n"):
            self._write_out()
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write the lines as one text."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Write an incomplete text of this thread too."""
        self._write_out()
        self.stream.flush()

    def isatty(self) -> bool:
        """Return False: nobody wants colours in JSON."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    @property
    def _parts(self) -> list[str]:
        parts: list[str] = self._local.__dict__.setdefault("parts", [])
        return parts

    def _write_out(self) -> None:
        text = "".join(self._parts).strip("\n")
        self._parts.clear()
        if text.strip():
            line = (text if _is_object(text) else _line_of(text)) + "\n"
            with self._lock:
                self.stream.write(line)
                self.stream.flush()


def _is_object(text: str) -> bool:
    if "\n" in text or not text.startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _line_of(text: str) -> str:
    failed = text.lstrip().startswith(_ERRORS)
    level = logging.ERROR if failed else logging.INFO
    record = logging.LogRecord("stderr", level, "", 0, text, None, None)
    return _formatter.format(record)


def write_json() -> None:
    """From here on write only JSON to stderr, also what is not logged: remarks, errors, warnings.

    Call it before the modules of the program are imported.  Output of C code and of other
    processes is not changed.
    """
    if isinstance(sys.stderr, JsonLines):
        return
    sys.stderr = JsonLines(sys.stderr)
    logger = logging.getLogger("awa_cli")
    sys.excepthook = lambda kind, error, trace: logger.critical(
        "the program ends with an error", exc_info=(kind, error, trace)
    )
    threading.excepthook = lambda args: logger.error(
        "a thread ends with an error",
        exc_info=None
        if args.exc_value is None
        else (args.exc_type, args.exc_value, args.exc_traceback),
    )
    sys.unraisablehook = lambda args: logger.error(
        "an error is ignored: %s",
        args.err_msg or "in a finalizer",
        exc_info=None
        if args.exc_value is None
        else (args.exc_type, args.exc_value, args.exc_traceback),
    )


def set_up(*, verbose: int) -> None:
    """Write records of level info and above to stderr, with -v of level debug.

    Does nothing if the program has configured logging; after ``write_json`` what it writes to
    stderr is JSON nevertheless.
    """
    level = logging.DEBUG if verbose else logging.INFO
    if not isinstance(sys.stderr, JsonLines):
        configure(level)
    elif configure(level, formatter=_formatter, stream=sys.stderr.stream):
        logging.captureWarnings(True)
