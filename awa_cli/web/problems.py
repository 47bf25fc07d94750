"""What went wrong, as an answer: a status, and what, why and what to do."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

from awa_lib import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response
    from starlette.types import Scope

__all__ = ["PATH", "Problem", "Refused", "answer", "problem_of", "wants_page"]

logger = logging.getLogger(__name__)

PATH: Final = "awa.path"
"""Where the scope keeps the path below the place this server is mounted at."""
# What the server says of values: out of range, not of the type, against a CHECK.
_BAD_VALUES: Final = ("22", "23514")
_NO_RIGHT: Final = "42501"
_BY_CLASS: Final = (
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.InvalidInput, 422),
    (errors.SchemaMismatch, 503),
    (errors.Transient, 503),
    (errors.EmbeddedError, 503),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What happened, why, and what to do; ``error`` says the same as ``what``."""

    error: str
    what: str
    why: str | None
    do: str | None


@dataclass(slots=True)
class Refused(Exception):
    """A request that is answered with a problem before, or instead of, an operation."""

    status: int
    what: str
    why: str | None = None
    do: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def problem_of(error: Exception) -> Refused:
    """Return how an exception is answered; what is nobody's business is logged, not told."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, errors.AwaError):
        status = _status(error)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers = {"Retry-After": "1"} if isinstance(error, errors.Transient) else {}
            return Refused(status, str(error), error.why, error.hint, headers)
    logger.error("a request failed", exc_info=error)
    return Refused(500, "internal server error", "this is a fault in awa itself", "see its log")


def _status(error: errors.AwaError) -> int:
    from awa_cli.web.state import ReadOnly

    if isinstance(error, ReadOnly):
        return 503
    for kind, status in _BY_CLASS:
        if isinstance(error, kind):
            return status
    if isinstance(error, errors.DatabaseError) and error.sqlstate is not None:
        if error.sqlstate.startswith(_BAD_VALUES):
            return 422
        if error.sqlstate == _NO_RIGHT:
            return 403
    return 500


def answer(scope: Scope, refused: Refused) -> Response:
    """Return the answer: JSON, or a page for a browser that went to one."""
    if wants_page(scope):
        from awa_cli.web.pages._render import error_page

        return error_page(scope, refused, HTTPStatus(refused.status).phrase)
    problem = Problem(refused.what, refused.what, refused.why, refused.do)
    headers = {"Cache-Control": "no-store", **refused.headers}
    return JSONResponse(asdict(problem), refused.status, headers)


def wants_page(scope: Scope) -> bool:
    """Return whether a person looks at the answer: a navigation outside the API."""
    accept = _header(scope, b"accept")
    return "text/html" in accept and not scope[PATH].startswith("/api/")


def _header(scope: Scope, name: bytes) -> str:
    return next((v.decode("latin-1") for k, v in scope.get("headers", ()) if k == name), "")
