"""Parse a query string or a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = ["is_raw", "query_pairs", "read_pairs", "read_params"]

_MAX_PAIRS: Final = 2_000


def read_pairs(text: str, what: str = "the query", *, blank: bool = False) -> list[tuple[str, str]]:
    """Parse ``a=1&b=2`` into pairs, in order; empty values are left out unless ``blank``.

    Raises InvalidInput for text that is not UTF-8, and for more than 2,000 pairs.
    """
    try:
        return parse_qsl(text, keep_blank_values=blank, errors="strict", max_num_fields=_MAX_PAIRS)
    except ValueError:
        raise InvalidInput(f"{what} cannot be read", why="it is not UTF-8, or too long") from None


def query_pairs(scope: Scope) -> list[tuple[str, str]]:
    """Return the pairs of the query of a request.  Raises InvalidInput."""
    return read_pairs(scope.get("query_string", b"").decode("latin-1"), blank=True)


def is_raw(scope: Scope) -> bool:
    """Return whether a request has ``?raw=1``.  Raises InvalidInput."""
    return ("raw", "1") in query_pairs(scope)


def read_params(text: str, what: str = "the query") -> dict[str, list[str]]:
    """Parse ``a=1&b=2&a=3`` by name; empty values are left out.  Raises InvalidInput."""
    found: dict[str, list[str]] = {}
    for name, value in read_pairs(text, what):
        found.setdefault(name, []).append(value)
    return found
