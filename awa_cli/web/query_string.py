"""Names and values of an address or a form."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from awa_lib.errors import InvalidInput

__all__ = ["read_pairs"]

_MOST: Final = 2_000


def read_pairs(text: str, what: str = "the query", *, blank: bool = False) -> list[tuple[str, str]]:
    """Read ``a=1&b=2``, in order; those without a value are left out unless ``blank``.

    Raises InvalidInput for what is not UTF-8, or more than 2,000.
    """
    try:
        return parse_qsl(text, keep_blank_values=blank, errors="strict", max_num_fields=_MOST)
    except ValueError:
        raise InvalidInput(f"{what} cannot be read", why="it is not UTF-8, or too long") from None
