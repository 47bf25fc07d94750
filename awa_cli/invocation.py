"""What the command line says for every command: database, verbosity, colours, paging.

The parser fills it in; nothing here depends on the parser.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import IO, Protocol, TypeVar

__all__ = ["Common", "Invocation", "common"]

T = TypeVar("T")


@dataclass(slots=True)
class Common:
    """The values of the common options, given before or after the subcommand."""

    database_url: str | None = None
    context: str | None = None
    connect_timeout: float | None = None
    yes: bool = False
    verbose: int = 0
    quiet: bool = False
    no_color: bool = False
    no_pager: bool = False

    def color(self, stream: IO[str] | None = None) -> bool:
        """Return whether this stream (by default stdout) takes colours."""
        stream = stream or sys.stdout
        return (
            not (self.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
            and stream.isatty()
        )


class Invocation(Protocol):
    """The part of the parser's context that ``common`` needs."""

    def find_root(self) -> Invocation:
        """Return the context of the whole command line."""

    def ensure_object(self, object_type: type[T], /) -> T:
        """Return the context's object of this type; make it if there is none."""


def common(ctx: Invocation) -> Common:
    """Return the common options, as parsed so far."""
    return ctx.find_root().ensure_object(Common)
