"""Read bulk operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql
from awa_lib.errors import BulkOperationNotFound, ValidationError
from awa_lib.filters import checked_limit, checked_uuid
from awa_lib.models import BulkOperation
from awa_lib.validation import did_you_mean

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["get_bulk_operation", "list_bulk_operations"]

_STATES: Final = ("pending", "running", "completed", "cancelled", "failed")


def get_bulk_operation(operation_id: str) -> Op[BulkOperation]:
    """Return a bulk operation as its last batch left it.

    Raises BulkOperationNotFound or ValidationError.
    """
    operation_id = checked_uuid(operation_id)
    rows = yield sql.read_bulk("get", id=operation_id)
    if not rows:
        raise BulkOperationNotFound(operation_id)
    return rows.into(BulkOperation)[0]


def list_bulk_operations(*, state: str | None = None, limit: int = 20) -> Op[list[BulkOperation]]:
    """Return the latest bulk operations, newest first.  Raises ValidationError."""
    if state is not None and state not in _STATES:
        raise ValidationError(
            f"unknown state of a bulk operation: {state!r}",
            why=f"states are {', '.join(_STATES)}",
            hint=did_you_mean(state, _STATES),
        )
    rows = yield sql.read_bulk("list", state=state, limit=checked_limit(limit))
    return rows.into(BulkOperation)
