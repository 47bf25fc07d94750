"""Names as a single path segment, including ``.`` and ``..``, which browsers would resolve."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import Mount, compile_path

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["Below", "step"]

_HEX: Final = re.compile(r"~((?:[0-9a-f]{2})+)")


def step(name: object) -> str:
    """Return a name as a path segment.

    Browsers resolve ``.`` and ``..`` even if they are percent-encoded, so these are written as
    ``~`` and the hex digits of their bytes, and so are names that already have this form.
    """
    text = str(name)
    if text in {".", ".."} or _HEX.fullmatch(text):
        return f"~{text.encode().hex()}"
    return quote(text, safe="")


class _Name(Convertor[str]):
    """``{queue:name}``: any name, also with slashes and line ends."""

    regex = r"[\s\S]+"

    def convert(self, value: str) -> str:
        found = _HEX.fullmatch(value)
        return bytes.fromhex(found[1]).decode(errors="replace") if found else value

    def to_string(self, value: str) -> str:
        return step(value)


class _Rest(Convertor[str]):
    """``{path:rest}``: what follows, also with line ends, which ``{path:path}`` does not match."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class Below(Mount):
    """An application below a path; paths may have line ends."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        super().__init__(path, app)
        compiled = compile_path(self.path + "/{path:rest}")
        self.path_regex, self.path_format, self.param_convertors = compiled


register_url_convertor("name", _Name())
register_url_convertor("rest", _Rest())
