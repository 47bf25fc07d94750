"""Batch operations: how far each is, and one with which jobs it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import pairs_of, query_of_bulk
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.terminal.output import counted
from awa_cli.views.bulk import done_words, filter_words, operation_words, share_of
from awa_cli.views.columns import BATCHES
from awa_cli.web import api
from awa_cli.web.api.bulk_operations import BatchState
from awa_cli.web.guard import identity_of
from awa_cli.web.pages._list_query import FormField, list_query, parameters
from awa_cli.web.pages._render import act, at, read, render
from awa_lib.reads.bulk import get_bulk_operation, list_bulk_operations
from awa_lib.reads.runtime import runtime_instances

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib._sql import Op
    from awa_lib.models import BulkOperation

__all__ = ["cancel", "listed", "show"]

_MOST: Final = 100
_STATES: Final = ("pending", "running", "completed", "cancelled", "failed")
_PARAMETERS: Final = parameters({"state": BatchState})


def _words(column: Any) -> Any:
    """Return the column as people read it; ids are for commands, and counts beside the bar."""
    if column.title == "OPERATION":
        return replace(column, get=operation_words)
    if column.title == "FILTER":
        return replace(column, get=lambda one: filter_words(one.filter))
    if column.title == "STATE":
        return replace(column, state=lambda one: one.state)
    return replace(column, wide=False) if column.title == "BY" else column


_COLUMNS: Final = tuple(_words(one) for one in BATCHES if one.title not in {"ID", "DONE"})


async def listed(request: Request) -> Response:
    """Answer with the latest operations."""
    wanted = list_query(request, "/batches", _PARAMETERS)
    limited = list_bulk_operations(state=wanted.values.get("state"), limit=_MOST)
    return await render(
        request,
        "batches.html",
        422 if wanted.problem else 200,
        part="parts/batches.html",
        wanted=wanted,
        fields=[FormField("state", "any", _STATES, closed=True)],
        batches=[] if wanted.problem else await read(request, limited),
        most=_MOST,
        columns=_COLUMNS,
        links={"OPERATION": lambda one: at("batches", one.id)},
        share=share_of,
        done=done_words,
        said=_said,
    )


async def show(request: Request) -> Response:
    """Answer with one operation."""
    batch, fleet = await read(request, _operation(request.path_params["operation_id"]))
    commands = [f"awa batch show {batch.id}"]
    if not batch.finished:
        commands += [f"awa batch run {batch.id}", f"awa batch cancel {batch.id}"]
    return await render(
        request,
        "batch.html",
        part="parts/batch.html",
        batch=batch,
        operation=operation_words(batch),
        words=filter_words(batch.filter),
        jobs=_jobs(batch.filter),
        share=share_of(batch),
        done=done_words(batch),
        said=_said(batch),
        took=_took(batch),
        alone=not batch.finished and all(one.stale for one in fleet),
        commands=commands,
    )


def _operation(operation_id: str) -> Op[tuple[BulkOperation, Any]]:
    batch = yield from get_bulk_operation(operation_id)
    fleet = yield from runtime_instances()
    return batch, fleet


def _said(batch: BulkOperation) -> str:
    """Name it in a question: its id tells people nothing."""
    return f"{operation_words(batch)} of {counted(batch.total_matched)}"


def _jobs(where: Mapping[str, Any]) -> str | None:
    """Return the address of the jobs that fit now, if a filter of the list says the same."""
    try:
        given = pairs_of(query_of_bulk(where))
    except (KeyError, ValueError):
        return None
    return f"/jobs?{QUERY_STRING.write(given)}" if given else "/jobs"


def _took(batch: BulkOperation) -> float | None:
    if batch.started_at is None or batch.finished_at is None:
        return None
    return (batch.finished_at - batch.started_at).total_seconds()


async def cancel(request: Request) -> Response:
    """Stop an operation between two batches."""
    operation_id = request.path_params["operation_id"]
    op = api.bulk_operations.cancel(identity_of(request.scope), operation_id)
    return await act(request, op, "batch.cancel", operation_id)
