"""How each surface writes a filter: as options, as a line of text, as a query string.

A spelling reads pairs, shows errors with the field as the surface writes it, and writes pairs back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from awa_cli.filters.query import (
    InvalidFilter,
    Read,
    bulk_filter,
    compact_json,
    read_filter,
)
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awa_cli.filters.query import Pair
    from awa_lib.filters import JobFilter, JobQuery

__all__ = ["OPTIONS", "QUERY_STRING", "TEXT", "Spelling"]

# A longer value does not make a message clearer.
_LONGEST_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Spelling:
    """The way a surface writes fields."""

    lead: Callable[[str], str]
    """Returns what stands before the value of a field in a message."""
    write: Callable[[Iterable[Pair]], str]
    """Writes pairs so that the surface reads the same filter from them."""

    def read(self, given: Iterable[Pair], read: Read = Read.JOBS) -> JobQuery:
        """Read a filter.  Raises InvalidInput."""
        try:
            return read_filter(given, read)
        except InvalidFilter as error:
            raise self.explain(error) from None

    def bulk(self, query: JobQuery) -> JobFilter:
        """Return a query as the filter of a bulk operation.  Raises InvalidInput."""
        try:
            return bulk_filter(query)
        except InvalidFilter as error:
            raise self.explain(error) from None

    def explain(self, error: InvalidFilter) -> InvalidInput:
        """Return the error with its field and examples as they are written here."""
        shown = repr(error.value)
        if len(shown) > _LONGEST_SHOWN:
            shown = f"{shown[: _LONGEST_SHOWN - 3]}..."
        examples = " or ".join(self.write([(error.field, one)]) for one in error.examples)
        hint = " ".join(part for part in (error.do, examples) if part)
        return InvalidInput(
            f"{self.lead(error.field)}{shown} {error.fault}", why=error.why, hint=hint or None
        )


def _as_options(given: Iterable[Pair]) -> str:
    # The parser takes a separate word that begins with a dash for an option.
    return " ".join(
        f"--{field}={quote(text)}" if text.startswith("-") else f"--{field} {quote(text)}"
        for field, text in given
    )


def _as_text(given: Iterable[Pair]) -> str:
    given = list(given)
    states = [text for field, text in given if field == "state"]
    words = [f"state:{','.join(states)}"] if states else []
    for field, text in given:
        if field == "where":
            words.append(_as_word(text))
        elif field != "state":
            words.append(f"{field}:{_quoted(text)}")
    return " ".join(words)


def _as_word(condition: str) -> str:
    """Write a condition as one word: its value as compact JSON if it has spaces or quotes."""
    path, _, value = condition.partition("=")
    root, dot, names = path.partition(".")
    if re.search(r'[\s"]', value):
        value = compact_json(value)
    return f"{root}{dot}{_quoted(names) if names else ''}={value}"


def _quoted(value: str) -> str:
    if re.fullmatch(r'[^\s"]+', value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


OPTIONS: Final = Spelling(lambda field: f"--{field} ", _as_options)
TEXT: Final = Spelling(lambda field: "" if field == "where" else f"{field}: ", _as_text)
QUERY_STRING: Final = Spelling(lambda field: f"{field}=", lambda given: urlencode(list(given)))
