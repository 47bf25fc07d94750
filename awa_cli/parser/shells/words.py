"""What the modules of the shells share: the line that is typed, and what may complete its word."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from awa_lib.validation import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Candidate",
    "Line",
    "Shell",
    "Unfinished",
    "Word",
    "about_of",
    "character",
    "common_start",
    "encodable",
]

_LONGEST_ABOUT = 80


@dataclass(slots=True)
class Word:
    """A word as typed, and the text it stands for.

    ``quote`` is the quote that is still open at its end.  ``live`` says that the shell would expand
    a part of it, ``target`` that it names the file of a redirection.
    """

    raw: str = ""
    value: str = ""
    quote: str = ""
    live: bool = False
    target: bool = False


@dataclass(slots=True)
class Line:
    """The words before the cursor, without the program's name; the last is being typed."""

    args: list[str]
    word: Word
    # The start of the word that the shell keeps.  It replaces the rest.
    kept: Word = field(default_factory=Word)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word that may stand in place of the typed one.

    ``lead`` is its start up to the equals sign of an option.  ``unfinished`` says that the user
    goes on typing after it.
    """

    text: str
    about: str = ""
    lead: str = ""
    unfinished: bool = False


class Unfinished(str):
    """A completion after which the user goes on typing."""

    __slots__ = ()


class Shell(Protocol):
    """What the module of a shell has."""

    SCRIPT: str
    FILE: str

    def read(self, env: Mapping[str, str]) -> Line:
        """Return the line that the script has passed on."""

    def write(self, line: Line, found: Sequence[Candidate], env: Mapping[str, str]) -> list[str]:
        """Return the lines for the script, one for each candidate that can be inserted."""


def about_of(text: str) -> str:
    """Return a description as one short line without control characters."""
    text = one_line(" ".join(text.split()))
    return text if len(text) <= _LONGEST_ABOUT else text[: _LONGEST_ABOUT - 1] + "…"


def character(digits: str) -> str:
    """Return the character with a hexadecimal number, or nothing."""
    number = int(digits, 16)
    return chr(number) if number <= sys.maxunicode else ""


def common_start(texts: Iterable[str]) -> str:
    """Return the start that all texts share."""
    known = list(texts)
    least, most = min(known, default=""), max(known, default="")
    size = next((n for n, one in enumerate(least) if one != most[n]), len(least))
    return least[:size]


def encodable(text: str) -> bool:
    """Return whether the locale can encode the text, so that it can be an argument at all."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
