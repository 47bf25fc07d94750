"""Parts and downloads of the JSON values of a page: ``?value=args`` with the address of the page.

``at`` is the JSON Pointer of the part, ``from`` the number of its first member, and ``raw`` asks
for the whole part as a file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from awa_cli.views.trees import grow, resolve
from awa_cli.web.pages.render import render
from awa_cli.web.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

__all__ = ["Source", "answer"]


@dataclass(frozen=True, slots=True)
class Source:
    """The page that the values belong to, and that answers requests for their parts."""

    title: str
    address: str
    """Its path, as ``at`` returns it."""


async def answer(request: Request, source: Source, values: Mapping[str, Any]) -> Response:
    """Answer a request with ``value``.  Raises Refused for what is not there."""
    given = request.query_params
    name, at, start = given["value"], given.get("at", ""), given.get("from", "")
    try:
        value = resolve(values[name], at)
        first = int(start or "0")
    except (LookupError, ValueError):
        raise Refused(
            404,
            f"{source.title} has no such value",
            why="it may have changed since the page was loaded",
            do="reload the page",
        ) from None
    if "raw" in given:
        return _file(f"{source.title}-{name}.json", value)
    return await render(
        request,
        "value.html",
        part="parts/value.html",
        source=source,
        name=name,
        at=at,
        tree=grow(value, at, max(first, 0)),
        more=bool(start),
        url=f"{source.address}?value={name}",
    )


def _file(name: str, value: Any) -> Response:
    name = re.sub(r"[^A-Za-z0-9.]+", "-", name).lower()
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    return Response(
        # A value may hold half of a surrogate pair.
        text.encode("utf-8", "replace"),
        media_type="application/json",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "Cache-Control": "no-store",
        },
    )
