"""Exit codes, and error messages of up to three lines on stderr."""

from __future__ import annotations

import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from awa_lib.errors import AwaError

__all__ = ["ExitCode", "complain", "exit_code_for", "explain", "printable"]


class ExitCode(IntEnum):
    """The exit statuses of every ``awa`` command."""

    OK = 0
    """The command succeeded."""
    FAILED = 1
    """The request failed: no such job, wrong state, refused by the database."""
    USAGE = 2
    """The command line or a value in it is not valid; nothing was done."""
    UNREACHABLE = 3
    """The database cannot be reached, or the connection was lost."""
    SCHEMA = 4
    """The schema is missing, incomplete, or of a version that this program does not support."""
    NOTHING = 5
    """Nothing matched, and --fail-empty was given."""
    WRONG = 6
    """A check failed."""
    TIMED_OUT = 124
    """The time limit for waiting expired."""
    INTERRUPTED = 130
    """Stopped by Ctrl-C."""


_LABELS: Final = (("error", "31"), ("why", "2"), ("do", "36"))


def exit_code_for(error: AwaError) -> ExitCode:
    """Return the exit code of a library error."""
    from awa_lib import errors

    if isinstance(error, errors.Unavailable | errors.EmbeddedError):
        return ExitCode.UNREACHABLE
    if isinstance(error, errors.SchemaMismatch):
        return ExitCode.SCHEMA
    if isinstance(error, errors.InvalidInput):
        return ExitCode.USAGE
    return ExitCode.FAILED


def printable(text: str) -> str:
    """Escape control characters, so that no name can control the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def explain(what: str, why: str | None = None, do: str | None = None, *, color: bool) -> str:
    """Lay out the message: what happened, why, what to do; control characters are escaped."""
    lines = []
    for (label, code), text in zip(_LABELS, (what, why, do), strict=True):
        if text:
            head = f"{label + ':':>6}"
            lines.append((f"\x1b[{code}m{head}\x1b[0m " if color else f"{head} ") + printable(text))
    return "\n".join(lines)


def complain(
    what: str, why: str | None = None, do: str | None = None, *, color: bool = False
) -> None:
    """Print the message on stderr."""
    print(explain(what, why, do, color=color), file=sys.stderr)  # noqa: T201 - messages go to stderr
