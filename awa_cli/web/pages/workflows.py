"""The list of workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.words import counted
from awa_cli.views.workflows import done_of, share_of
from awa_cli.web.api.fields import BeforeId, Name
from awa_cli.web.api.workflows import WorkflowState
from awa_cli.web.pages._list_query import LIMIT, FormField, list_query, parameters, split_older
from awa_cli.web.pages.render import read, render
from awa_lib.reads.names import workflow_names
from awa_lib.reads.workflows import STATES, list_workflows

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["listed"]

_PARAMETERS: Final = parameters(
    {"state": WorkflowState, "name": Name, "key": Name, "before_id": BeforeId}
)


async def listed(request: Request) -> Response:
    """List the workflows that match the filter, newest first."""
    listing = list_query(request, "/workflows", _PARAMETERS)
    found: list[Any] = []
    if listing.problem is None:
        found = await read(request, list_workflows(**listing.values, limit=LIMIT + 1))
    rows, older = split_older(listing, found)
    return await render(
        request,
        "workflows.html",
        422 if listing.problem else 200,
        part="parts/workflows.html",
        listing=listing,
        fields=[
            FormField("state", "any", STATES, closed=True),
            FormField("name", "import", await _names(request)),
            FormField("key", "2026-11-29"),
        ],
        workflows=rows,
        older=older,
        words=counted(len(rows), "workflow"),
        share=share_of,
        done=done_of,
    )


async def _names(request: Request) -> Any:
    return await read(request, workflow_names(), cached="names of workflows")
