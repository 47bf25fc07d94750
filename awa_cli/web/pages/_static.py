"""Static files: compressed, and cached by browsers until they change."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

__all__ = ["FOLDER", "Files", "stamp"]

FOLDER: Final = Path(__file__).parents[1] / "static"


@cache
def stamp(name: str) -> str:
    """Return a hash of a file's contents, which makes browsers reload a changed file."""
    return hashlib.blake2b((FOLDER / name).read_bytes(), digest_size=6).hexdigest()


class Files(StaticFiles):
    """The static files; an address with the present stamp is cached for a year."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file."""
        response = await super().get_response(path, scope)
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("v")
        if response.status_code < 400 and given == [stamp(path)]:  # noqa: PLR2004 - the first error
            response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
        else:
            response.headers["Cache-Control"] = "no-cache"
        return response
