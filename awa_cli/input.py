"""Read files and stdin.

Programs on Windows put a mark before UTF-8, or write UTF-16; both are read as the text they are.
"""

from __future__ import annotations

import codecs
import io
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["decoded", "open_text", "parse_toml", "read_bytes", "read_text", "stdin"]

_UTF16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def open_text(name: str) -> Iterator[TextIO]:
    """Open a file, or stdin for ``-``.

    Raises InvalidInput when it cannot be opened, and also in the block for bytes that are no text.
    """
    try:
        if name == "-":
            yield stdin()
        else:
            with Path(name).open("rb") as file:
                yield _text_of(file)
    except OSError as error:
        raise _unreadable(name, str(error.strerror or error)) from None
    except UnicodeDecodeError as error:
        raise _no_text(name, error) from None


def read_text(name: str) -> str:
    """Return the text of a file, or of stdin for ``-``.  Raises InvalidInput."""
    with open_text(name) as file:
        return file.read()


def read_bytes(name: str) -> bytes:
    """Return what a file holds, or what comes on stdin for ``-``.  Raises InvalidInput."""
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise _unreadable(name, str(error.strerror or error)) from None


def stdin() -> TextIO:
    """Return stdin as text.  It stays open: a question may follow."""
    buffer = getattr(sys.stdin, "buffer", None)
    if buffer is not None and isinstance(sys.stdin, io.TextIOWrapper):
        with suppress(io.UnsupportedOperation):  # text has been read from it already
            sys.stdin.reconfigure(encoding=_encoding_of(buffer), errors="strict")
    return sys.stdin


def decoded(raw: bytes) -> str:
    """Return bytes as text.  Raises UnicodeDecodeError."""
    return raw.decode("utf-16" if raw.startswith(_UTF16) else "utf-8-sig")


def _text_of(file: io.BufferedReader) -> TextIO:
    return io.TextIOWrapper(file, encoding=_encoding_of(file))


def _encoding_of(file: io.BufferedReader) -> str:
    return "utf-16" if file.peek(2).startswith(_UTF16) else "utf-8-sig"


def _unreadable(name: str, reason: str) -> InvalidInput:
    return InvalidInput(f"cannot read {_called(name)}", why=reason.lower())


def _no_text(name: str, error: UnicodeDecodeError) -> InvalidInput:
    return InvalidInput(
        f"cannot read {_called(name)}",
        why=f"it is not UTF-8: byte {error.object[error.start]:#04x} at {error.start}",
        hint="save it as UTF-8; for example: iconv -f LATIN1 -t UTF-8 FILE",
    )


def _called(name: str) -> str:
    return "stdin" if name == "-" else repr(name)


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML.  Raises ValueError with a text for users, whatever is wrong with it."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError:
        # Python reads no number of more than 4,300 digits.
        raise ValueError("a number is too long") from None
