"""Names as one part of a path, also those that a browser would take for steps up the path."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from starlette.convertors import Convertor, register_url_convertor

__all__ = ["step"]

_WRITTEN: Final = re.compile(r"~((?:[0-9a-f]{2})+)")


def step(name: object) -> str:
    """Write a name as one part of a path.

    Browsers resolve ``.`` and ``..`` even where they are percent-encoded, so these are written as
    ``~`` and the hex digits of their text; as is a name that looks like one so written.
    """
    text = str(name)
    if text in {".", ".."} or _WRITTEN.fullmatch(text):
        return f"~{text.encode().hex()}"
    return quote(text, safe="")


class _Name(Convertor[str]):
    """``{queue:name}``: any name, with slashes and line ends."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        found = _WRITTEN.fullmatch(value)
        return bytes.fromhex(found[1]).decode(errors="replace") if found else value

    def to_string(self, value: str) -> str:
        return step(value)


register_url_convertor("name", _Name())
