"""Read the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from awa_lib._json import as_members
from awa_lib._sql import sql
from awa_lib.filters import checked_limit

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib._sql import Op

__all__ = ["AuditEntry", "audit_entries"]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change: who, by which surface, what, to what, and what the database knew of them."""

    id: int
    at: datetime
    actor: str
    via: str
    action: str
    target: str
    detail: dict[str, Any]
    database_user: str
    address: str | None
    """None for a local socket."""


def audit_entries(
    *,
    before_id: int | None = None,
    actor: str | None = None,
    action: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
) -> Op[list[AuditEntry]]:
    """Return a page of entries, newest first.

    ``action`` is an action (``job.retry``) or a noun for all of its actions (``job``).
    The next page starts at ``before_id=page[-1].id``.  Raises ValidationError.
    """
    rows = yield sql.read_audit(
        "list_entries",
        before_id=before_id,
        actor=actor,
        action=action,
        target=target,
        since=since,
        until=until,
        limit=checked_limit(limit),
    )
    return rows.into(_entry)


def _entry(*, detail: str, **columns: Any) -> AuditEntry:
    return AuditEntry(detail=as_members(detail), **columns)
