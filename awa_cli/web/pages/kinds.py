"""The pages of the kinds."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from awa_cli.views.facts import declared_facts
from awa_cli.views.queue_columns import KINDS
from awa_cli.views.words import counted
from awa_cli.web import api
from awa_cli.web.pages._charts import charts, marks, window_of
from awa_cli.web.pages._failures import failure_rows, failure_time
from awa_cli.web.pages._links import counted_links, tiles
from awa_cli.web.pages._list_query import address
from awa_cli.web.pages.render import act, at, read, render
from awa_cli.web.scope import identity_of
from awa_lib.reads.overviews import kind_overview, list_kinds

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.views.series import Window
    from awa_cli.web.pages._failures import FailureRow
    from awa_lib._sql import Op
    from awa_lib.reads.overviews import KindOverview

__all__ = ["listed", "retry", "show"]

_FAILURES: Final = 20
# In full words, for which a page has room.
_TITLES: Final = {"available": "AVAILABLE", "completed": "LAST HOUR"}
_COLUMNS: Final = tuple(
    replace(one, title=_TITLES.get(one.key, one.title), wide=one.wide and one.key != "dead")
    for one in KINDS
)


async def listed(request: Request) -> Response:
    """List the kinds."""
    kinds = await read(request, list_kinds())
    drift = sum(one.descriptor_mismatch for one in kinds)
    unworked = sum(not one.live_instances for one in kinds)
    words = [counted(len(kinds), "kind"), f"{sum(one.running for one in kinds):,} running"]
    words += [f"{unworked:,} without a live worker"] if unworked else []
    words += [f"{drift:,} declared in different ways by live workers"] if drift else []
    return await render(
        request,
        "kinds.html",
        part="parts/kinds.html",
        kinds=kinds,
        words=words,
        columns=_COLUMNS,
        links={
            "kind": lambda one: at("kinds", one.kind),
            "jobs": lambda one: address({"kind": [one.kind]}),
            "dead": _dead,
            **counted_links("kind"),
        },
    )


async def show(request: Request) -> Response:
    """Show a kind."""
    name = request.path_params["kind"]
    window = window_of(request)
    kind, failures = await read(request, _read_kind(name, window))
    return await render(
        request,
        "kind.html",
        part="parts/kind.html",
        kind=kind,
        command=f"awa kind show {shlex.quote(name)}",
        facts=declared_facts(kind),
        tiles=tiles("kind", kind),
        jobs=address({"kind": [name]}),
        failures=failures,
        failure_time=failure_time(window).words,
        charts=await charts(request, kind=name),
        marks=marks(window, [], failures),
        window=window,
    )


def _dead(one: KindOverview) -> str | None:
    return address({"kind": [one.kind]}, "/dlq") if one.dead_letters else None


def _read_kind(name: str, window: Window) -> Op[tuple[KindOverview, list[FailureRow]]]:
    kind = yield from kind_overview(name)
    time = failure_time(window)
    failures = yield from failure_rows(time.begin, time.length, kind=name, limit=_FAILURES)
    return kind, failures


async def retry(request: Request) -> Response:
    """Retry the failed jobs of the kind."""
    kind = request.path_params["kind"]
    op = api.jobs.retry_failed(identity_of(request.scope), kind=kind)
    return await act(request, op, "job.retry-failed", f"kind {kind}")
