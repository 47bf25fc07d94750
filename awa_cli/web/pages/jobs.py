"""The list of jobs: any number of them, by what the address filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.responses import RedirectResponse

from awa_cli.filters.text import complete_filter, filter_params, read_filter
from awa_cli.views.columns import JOBS
from awa_cli.web.api.overview import kinds, queues, stats
from awa_cli.web.pages._list_query import FILTERS, Asked, address, asked_by, given_by
from awa_cli.web.pages._render import at, read, render, root_of
from awa_lib.errors import InvalidInput
from awa_lib.reads.jobs import job_rows, job_rows_after
from awa_lib.reads.names import tag_names
from awa_lib.states import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.web.state import State
    from awa_lib.reads.jobs import JobQuery, JobRow

__all__ = ["complete", "listed"]

# What the server sorts by; other columns cannot be sorted by.
_SORTS: Final = {
    "id": "id",
    "att": "attempt",
    "prio": "priority",
    "created": "created_at",
    "when": "finalized_at",
}
_MOST_WORDS: Final = 12


async def listed(request: Request) -> Response:
    """Answer with a page of jobs.

    A filter that was typed goes to the address of what it means; one that cannot be read is shown
    with what is wrong.
    """
    given = given_by(request)
    try:
        if (text := given.pop("filter", None)) is not None:
            return _go_to(request, text[0], given)
        asked = asked_by(given)
        query = _checked(request, asked.query)
    except InvalidInput as error:
        kept = {name: values for name, values in given.items() if name not in FILTERS}
        typed = request.query_params.get("filter", "")
        return await _show(request, Asked(kept, {}), [], typed=typed, problem=error)
    jobs, newer, older = await _page(request, asked, query)
    return await _show(request, asked, jobs, newer=newer, older=older)


def _go_to(request: Request, text: str, given: dict[str, list[str]]) -> Response:
    read_filter(text)
    kept = {name: given[name] for name in given if name in {"sort", "limit", "column"}}
    to = address({**filter_params(text), **kept})
    return RedirectResponse(root_of(request) + to, 303)


def _checked(request: Request, query: JobQuery) -> JobQuery:
    state: State = request.app.state.awa
    if state.settings.redactor is not None:
        state.settings.redactor.check_query(query)
    return query


async def _page(
    request: Request, asked: Asked, query: JobQuery
) -> tuple[list[JobRow], str | None, str | None]:
    """Return the rows, and the addresses of the newer and the older ones."""
    limit = asked.limit
    after, before = asked.values.get("after_id"), asked.values.get("before_id")
    if asked.sort != "-id":
        return await read(request, job_rows(sort=asked.sort, limit=limit, **query)), None, None
    # One more tells whether there are more.
    if after is not None:
        jobs = await read(request, job_rows_after(after, limit=limit + 1, **query))
        more_new, more_old = len(jobs) > limit, True
        jobs = jobs[-limit:]
    else:
        query["before_id"] = before
        jobs = await read(request, job_rows(limit=limit + 1, **query))
        more_new, more_old = before is not None, len(jobs) > limit
        jobs = jobs[:limit]
    newer = asked.link(after_id=[str(jobs[0].id)]) if more_new and jobs else None
    older = asked.link(before_id=[str(jobs[-1].id)]) if more_old and jobs else None
    # At the newest again: the address that follows them.
    return jobs, newer or (asked.link() if before is not None and not jobs else None), older


async def _show(
    request: Request,
    asked: Asked,
    jobs: list[JobRow],
    *,
    newer: str | None = None,
    older: str | None = None,
    typed: str = "",
    problem: InvalidInput | None = None,
) -> Response:
    chosen = asked.params.get("column")
    columns = [one for one in JOBS if _shown(one.key, chosen, wide=one.wide)]
    return await render(
        request,
        "jobs.html",
        422 if problem else 200,
        part="parts/jobs.html",
        asked=asked,
        jobs=jobs,
        newer=newer,
        older=older,
        problem=problem,
        typed=typed or asked.text,
        columns=columns,
        all_columns=JOBS,
        shown_columns=columns,
        links={
            "id": lambda job: at("jobs", job.id),
            "kind": lambda job: asked.link(kind=[job.kind]),
            "queue": lambda job: asked.link(queue=[job.queue]),
        },
        sorts=_sorts(asked),
        key=lambda job: job.id,
        chips=await _chips(request, asked),
    )


def _shown(key: str, chosen: Sequence[str] | None, *, wide: bool) -> bool:
    return not wide if chosen is None else key in chosen


def _sorts(asked: Asked) -> dict[str, tuple[str, str]]:
    """Return field and address for the columns that a click sorts by.

    The server reads and sorts all that fit; of ended jobs there may be millions, which takes
    seconds, so other orders are offered where states are chosen, and completed is not one.
    """
    states = asked.params.get("state", [])
    few = bool(states) and "completed" not in states
    return {
        key: (field, _turned(asked, field))
        for key, field in _SORTS.items()
        if few or field in {"id", asked.sort.removeprefix("-")}
    }


def _turned(asked: Asked, field: str) -> str:
    """Return the address with this order, the largest first unless it is so already."""
    order = field if asked.sort == f"-{field}" else f"-{field}"
    return asked.link(sort=None if order == "-id" else [order])


async def _chips(request: Request, asked: Asked) -> list[tuple[str, str, bool, int | None]]:
    """Return state, address, whether it is on, and how many there are where that is known.

    Jobs are counted by state alone: with another filter nobody knows.
    """
    states = asked.params.get("state", [])
    counts: dict[str, int] = {}
    if not set(asked.filters) - {"state"}:
        counts = await read(request, stats(), cached="stats")
    chips = []
    for state in STATES:
        wanted = [one for one in STATES if (one in states) != (one == state)]
        chips.append((state, asked.link(state=wanted), state in states, counts.get(state)))
    return chips


async def complete(request: Request) -> Response:
    """Answer with what the text of the filter may go on to."""
    text = request.query_params.get("filter", "")[:1000]
    names: dict[str, Any] = {}
    reads = {"kind": kinds, "queue": queues, "tag": tag_names}
    for name, op in reads.items():
        if f"{name}:" in text:
            names[name] = await read(request, op(), cached=f"names of {name}")
    words = complete_filter(text, names)[:_MOST_WORDS]
    return await render(request, "parts/completions.html", words=words)
