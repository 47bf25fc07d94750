"""How a problem is answered: a JSON document, or a page for a browser."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import JSONResponse

from awa_cli.web.problems import Problem
from awa_cli.web.scope import PAGES, PATH

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

    from awa_cli.web.problems import Refused

__all__ = ["answer"]


def answer(scope: Scope, refused: Refused) -> Response:
    """Return the answer to a request that was refused."""
    if _is_navigation(scope):
        # 100 ms of pages, which a server that only answers programs need not load.
        from awa_cli.web.pages.render import error_page

        return error_page(scope, refused, HTTPStatus(refused.status).phrase)
    problem = Problem(refused.what, refused.what, refused.why, refused.do)
    headers = {"Cache-Control": "no-store", **refused.headers}
    return JSONResponse(asdict(problem), refused.status, headers)


def _is_navigation(scope: Scope) -> bool:
    """Return whether a browser opens a page, rather than a program or a script a document."""
    if not scope[PAGES]:
        return False
    accept = Headers(scope=scope).get("accept", "")
    return "text/html" in accept and not scope[PATH].startswith("/api/")
