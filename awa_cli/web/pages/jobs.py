"""The list of jobs, filtered by its address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from awa_cli.filters.query import Read
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.filters.text import complete_filter, read_text, text_pairs
from awa_cli.views.job_columns import JOBS
from awa_cli.web.api.fields import BeforeId, Text
from awa_cli.web.api.jobs import Sort
from awa_cli.web.api.overview import kinds, queues, stats
from awa_cli.web.json_schema import Rule
from awa_cli.web.pages._list_query import LIMIT, ListQuery, list_query, parameters
from awa_cli.web.pages.render import at, read, redirect, render
from awa_lib.errors import InvalidInput
from awa_lib.reads.jobs import job_rows, job_rows_after
from awa_lib.reads.names import tag_names
from awa_lib.states import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib.filters import JobQuery
    from awa_lib.reads.jobs import JobRow

__all__ = ["complete", "listed"]

# The columns that the server can sort by.
_SORTS: Final = {
    "id": "id",
    "att": "attempt",
    "prio": "priority",
    "created": "created_at",
    "when": "finalized_at",
}
_MAX_COMPLETIONS: Final = 12
_COLUMNS: Final = tuple(column.key for column in JOBS)
_PARAMETERS: Final = parameters(
    {
        "before_id": BeforeId,
        "after_id": BeforeId,
        "sort": Sort,
        "limit": Annotated[int, Rule(minimum=1, maximum=1000)],
        "column": list[Literal[_COLUMNS]],  # type: ignore[valid-type] # made of the columns
        "filter": Text,
    }
)
# Parameters that stay when the filter changes.
_KEPT: Final = ("sort", "limit", "column")


async def listed(request: Request) -> Response:
    """List the jobs that match the filter.

    A typed filter redirects to its address; an invalid filter is shown with its error.
    """
    listing = list_query(request, "/jobs", _PARAMETERS, Read.JOBS)
    typed = listing.given("filter")
    try:
        if typed:
            return _go_to(request, typed, listing)
        if listing.problem is not None:
            raise listing.problem
        query = _checked(request, listing.query)
    except InvalidInput as error:
        kept = {name: texts for name, texts in listing.params.items() if name in _KEPT}
        typed = typed or listing.text
        return await _show(request, ListQuery("/jobs", kept), [], typed=typed, problem=error)
    jobs, newer, older = await _rows(request, listing, query)
    return await _show(request, listing, jobs, newer=newer, older=older)


def _go_to(request: Request, text: str, listing: ListQuery) -> Response:
    read_text(text)
    kept = [(name, one) for name in _KEPT for one in listing.params.get(name, ())]
    query = QUERY_STRING.write([*text_pairs(text), *kept])
    return redirect(request, f"/jobs?{query}")


def _checked(request: Request, query: JobQuery) -> JobQuery:
    state: State = request.app.state.awa
    if state.settings.redactor is not None:
        state.settings.redactor.check_query(query)
    return query


async def _rows(
    request: Request, listing: ListQuery, query: JobQuery
) -> tuple[list[JobRow], str | None, str | None]:
    """Return the rows, and the addresses of newer and of older rows."""
    limit = listing.values.get("limit", LIMIT)
    after, before = listing.values.get("after_id"), listing.values.get("before_id")
    if (sort := _sort(listing)) != "-id":
        return await read(request, job_rows(sort=sort, limit=limit, **query)), None, None
    # An extra row shows whether there are more.
    if after is not None:
        jobs = await read(request, job_rows_after(after, limit=limit + 1, **query))
        more_new, more_old = len(jobs) > limit, True
        jobs = jobs[-limit:]
    else:
        query["before_id"] = before
        jobs = await read(request, job_rows(limit=limit + 1, **query))
        more_new, more_old = before is not None, len(jobs) > limit
        jobs = jobs[:limit]
    newer = listing.link(after_id=[str(jobs[0].id)]) if more_new and jobs else None
    older = listing.link(before_id=[str(jobs[-1].id)]) if more_old and jobs else None
    # No jobs before this id: link to the newest.
    return jobs, newer or (listing.link() if before is not None and not jobs else None), older


async def _show(
    request: Request,
    listing: ListQuery,
    jobs: list[JobRow],
    *,
    newer: str | None = None,
    older: str | None = None,
    typed: str = "",
    problem: InvalidInput | None = None,
) -> Response:
    chosen = listing.params.get("column")
    columns = [one for one in JOBS if _shown(one.key, chosen, wide=one.wide)]
    return await render(
        request,
        "jobs.html",
        422 if problem else 200,
        part="parts/jobs.html",
        listing=listing,
        jobs=jobs,
        newer=newer,
        older=older,
        problem=problem,
        typed=typed or listing.text,
        columns=columns,
        all_columns=JOBS,
        shown_columns=columns,
        links={
            "id": lambda job: at("jobs", job.id),
            "kind": lambda job: listing.link(kind=[job.kind]),
            "queue": lambda job: listing.link(queue=[job.queue]),
        },
        sort=_sort(listing),
        limit=listing.values.get("limit", LIMIT),
        sorts=_sorts(listing),
        key=lambda job: job.id,
        chips=await _chips(request, listing),
    )


def _shown(key: str, chosen: Sequence[str] | None, *, wide: bool) -> bool:
    return not wide if chosen is None else key in chosen


def _sorts(listing: ListQuery) -> dict[str, tuple[str, str]]:
    """Return (field, address) by the key of each column that a click sorts by.

    The server reads and sorts all matching jobs, which takes seconds for millions of ended jobs.
    So orders other than the id need a filter by states other than completed.
    """
    states = listing.query.get("states", ())
    sortable = bool(states) and "completed" not in states
    return {
        key: (field, _turned(listing, field))
        for key, field in _SORTS.items()
        if sortable or field in {"id", _sort(listing).removeprefix("-")}
    }


def _sort(listing: ListQuery) -> str:
    return str(listing.values.get("sort", "-id"))


def _turned(listing: ListQuery, field: str) -> str:
    """Return the address with this order, descending unless it is descending already."""
    order = field if _sort(listing) == f"-{field}" else f"-{field}"
    return listing.link(sort=None if order == "-id" else [order])


async def _chips(request: Request, listing: ListQuery) -> list[tuple[str, str, bool, int | None]]:
    """Return (state, address, whether it is on, number of jobs) for each state.

    The number is None if there is a filter by anything but the state: only states are counted.
    """
    states = listing.query.get("states", ())
    counts: dict[str, int] = {}
    if not set(listing.filters) - {"state"}:
        counts = await read(request, stats(), cached="stats")
    chips = []
    for state in STATES:
        toggled = [one for one in STATES if (one in states) != (one == state)]
        chips.append((state, listing.link(state=toggled), state in states, counts.get(state)))
    return chips


async def complete(request: Request) -> Response:
    """List the completions of a filter's text."""
    text = request.query_params.get("filter", "")[:1000]
    names: dict[str, Any] = {}
    reads = {"kind": kinds, "queue": queues, "tag": tag_names}
    for name, op in reads.items():
        if f"{name}:" in text:
            names[name] = await read(request, op(), cached=f"names of {name}")
    words = complete_filter(text, names)[:_MAX_COMPLETIONS]
    return await render(request, "parts/completions.html", words=words)
