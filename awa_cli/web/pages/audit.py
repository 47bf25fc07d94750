"""The page of the audit log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import Read
from awa_cli.views.actions import ACTIONS
from awa_cli.views.columns import AUDIT
from awa_cli.web.api.fields import ActionId, BeforeId, Text
from awa_cli.web.pages._list_query import LIMIT, FormField, list_query, parameters, split_older
from awa_cli.web.pages.render import at, read, render
from awa_lib.reads.audit import audit_entries

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib.reads.audit import AuditEntry

__all__ = ["listed"]

_FIELDS: Final = (
    FormField("actor", "alice"),
    FormField(
        "action",
        "job.retry, queue",
        sorted({*ACTIONS, *(name.partition(".")[0] for name in ACTIONS)}),
    ),
    FormField("target", "42, or a queue"),
    FormField("since", "2h, 7d ago"),
    FormField("until", "1h"),
)
_PARAMETERS: Final = parameters(
    {"actor": Text, "action": ActionId, "target": Text, "before_id": BeforeId}
)
_ID: Final = re.compile(r"[1-9][0-9]{0,17}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def listed(request: Request) -> Response:
    """List the entries that match the filter."""
    listing = list_query(request, "/audit", _PARAMETERS, Read.AUDIT)
    entries: list[AuditEntry] = []
    if listing.problem is None:
        span: Any = listing.query
        op = audit_entries(**{**listing.values, **span, "limit": LIMIT + 1})
        entries = await read(request, op)
    entries, older = split_older(listing, entries)
    return await render(
        request,
        "audit.html",
        422 if listing.problem else 200,
        part="parts/audit.html",
        listing=listing,
        fields=_FIELDS,
        entries=entries,
        older=older,
        columns=AUDIT,
        links={
            "who": lambda one: listing.link(actor=one.actor),
            "action": lambda one: listing.link(action=one.action),
            "target": _target,
        },
    )


def _target(one: AuditEntry) -> str | None:
    """Return the path of the changed object's page, if it has a page."""
    noun = one.action.partition(".")[0]
    if noun in {"job", "dlq"} and _ID.fullmatch(one.target):
        return at("jobs", one.target)
    if noun == "batch" and _UUID.fullmatch(one.target):
        return at("batches", one.target)
    pages = {"queue": "queues", "failure": "failures", "cron": "cron"}
    if noun in pages and one.action not in {"cron.apply", "cron.remove"}:
        return at(pages[noun], one.target)
    return None
