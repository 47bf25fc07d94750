"""Hide values by the names of their keys, wherever jobs are shown."""

from __future__ import annotations

import re
import warnings
from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awa_lib.filters import JobQuery

__all__ = ["HIDDEN", "Redactor", "hidden", "read_redactor"]

T = TypeVar("T")

HIDDEN: Final = "***"
# The fields with data of the application.
_USER_DATA: Final = frozenset(
    {"args", "metadata", "progress", "extra", "payload", "filter", "value"}
)


class Redactor:
    """Hides the values of keys that match the pattern, ignoring case."""

    def __init__(self, pattern: str) -> None:
        from awa_lib.errors import InvalidInput

        try:
            with warnings.catch_warnings():
                # Of what a later Python may read differently: it would be printed with our path.
                warnings.simplefilter("ignore")
                self._pattern = re.compile(pattern, re.IGNORECASE)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            # Python reads no number of more than 4,300 digits, and its advice is none for a user.
            long = type(error) is ValueError
            raise InvalidInput(
                f"--redact {pattern!r} is not a regular expression",
                why="a number is too long" if long else str(error),
                hint="write it like --redact 'password|token'",
            ) from None

    def row(self, row: T) -> T:
        """Return a read model with matching values hidden, also in nested models."""
        if not is_dataclass(row) or isinstance(row, type):
            return row
        changed: dict[str, Any] = {}
        for field in fields(row):
            value = getattr(row, field.name)
            if field.name in _USER_DATA:
                changed[field.name] = self._hide(value)
            elif is_dataclass(value):
                changed[field.name] = self.row(value)
            elif isinstance(value, list) and value and is_dataclass(value[0]):
                changed[field.name] = list(map(self.row, value))
            elif isinstance(value, dict | list):
                changed[field.name] = self.document(value)
        return replace(row, **changed) if changed else row

    def rows(self, rows: Iterable[T]) -> Iterable[T]:
        """Redact each row."""
        return map(self.row, rows)

    def document(self, value: Any) -> Any:
        """Redact an encoded document."""
        if isinstance(value, dict):
            return {
                key: self._hide(item) if key in _USER_DATA else self.document(item)
                for key, item in value.items()
            }
        return [self.document(item) for item in value] if isinstance(value, list) else value

    def _hide(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: HIDDEN if self._pattern.search(str(key)) else self._hide(item)
                for key, item in value.items()
            }
        return [self._hide(item) for item in value] if isinstance(value, list) else value

    def check_query(self, query: JobQuery) -> None:
        """Raise InvalidInput for a filter by a hidden value: the result would reveal it."""
        from awa_lib.errors import InvalidInput

        for given in (query.get("args"), query.get("metadata")):
            if given is not None and self._hide(given) != given:
                raise InvalidInput(
                    "cannot filter jobs by a hidden value",
                    why="the result would reveal the value",
                    hint="remove that condition",
                )


def read_redactor(pattern: str | None) -> Redactor | None:
    """Return the redactor of ``--redact``, if it was given.  Raises InvalidInput."""
    return Redactor(pattern) if pattern else None


def hidden(row: T, pattern: str | None) -> T:
    """Return a read model, or a list of them, with the values that ``--redact`` matches hidden."""
    if not pattern:
        return row
    redactor = Redactor(pattern)
    return [redactor.row(item) for item in row] if isinstance(row, list) else redactor.row(row)  # type: ignore[return-value] # a list for a list
