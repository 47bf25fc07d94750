"""The first page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.web.api.overview import stats
from awa_cli.web.pages._render import read, render
from awa_lib.reads.pulse import latest_failures

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["show"]


async def show(request: Request) -> Response:
    """Answer with the state of everything."""
    return await render(
        request,
        "dashboard.html",
        stats=await read(request, stats()),
        failures=await read(request, latest_failures()),
    )
