"""Operations on the record of a storage transition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from awa_lib._json import dumps
from awa_lib._sql import sql
from awa_lib.errors import Conflict, DatabaseError, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib._sql import Op

__all__ = ["abort", "prepare"]


def prepare(engine: str, details: Mapping[str, Any] | None = None) -> Op[None]:
    """Record the storage engine to move to; jobs go on as before.

    Raises ValidationError for a blank or already active engine, Conflict when the transition has
    gone too far.
    """
    try:
        yield sql.storage("prepare", engine=engine, details=dumps(dict(details or {})))
    except DatabaseError as error:
        hint = "see where the transition stands: awa storage status"
        if error.sqlstate == "22023":
            raise ValidationError(str(error), why=error.why, hint=hint) from error
        if error.sqlstate == "55000":
            raise Conflict(str(error), why=error.why, hint=hint) from error
        raise


def abort() -> Op[None]:
    """Remove the prepared storage engine.  Does nothing when there is none."""
    yield sql.storage("abort")
