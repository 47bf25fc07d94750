"""Why a request fails: a status, what happened, why, and what to do."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from awa_lib import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Problem", "ReadOnly", "Refused", "problem_of"]

logger = logging.getLogger(__name__)

# SQLSTATEs of values that the database refuses: class 22, and a CHECK constraint.
_BAD_VALUES: Final = ("22", "23514")
_NO_PRIVILEGE: Final = "42501"
_PRIMARY: Final = "send changes to a server that works on the primary"
_BY_CLASS: Final = (
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.JobFailed, 409),
    (errors.InvalidInput, 422),
    (errors.SchemaMismatch, 503),
    (errors.Transient, 503),
    (errors.EmbeddedError, 503),
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What happened, why, and what to do; ``error`` is the same text as ``what``."""

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


class ReadOnly(errors.DatabaseError):
    """The server or its database takes no changes."""

    def __init__(self, why: str, hint: str = _PRIMARY) -> None:
        super().__init__(
            "awa serve is connected to a read-only database; admin actions are disabled",
            why=why,
            hint=hint,
        )


def problem_of(error: Exception) -> Refused:
    """Return the answer to an exception; the details of an unexpected error are only logged."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, errors.AwaError):
        status = _status(error)
        if status < HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers = {"Retry-After": "1"} if isinstance(error, errors.Transient) else {}
            return Refused(status, str(error), error.why, error.hint, headers)
    logger.error("a request failed", exc_info=error)
    return Refused(500, "internal server error", "this is a bug in awa", "see its log")


def _status(error: errors.AwaError) -> int:
    if isinstance(error, ReadOnly):
        return 503
    for kind, status in _BY_CLASS:
        if isinstance(error, kind):
            return status
    if isinstance(error, errors.DatabaseError) and error.sqlstate is not None:
        if error.sqlstate.startswith(_BAD_VALUES):
            return 422
        if error.sqlstate == _NO_PRIVILEGE:
            return 403
    return 500
