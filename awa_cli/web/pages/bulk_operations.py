"""The pages of the bulk operations, which the command calls `awa batch`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import pairs_of, query_of_bulk
from awa_cli.filters.spelling import QUERY_STRING
from awa_cli.views.bulk import done_words, filter_words, operation_words, share_of
from awa_cli.views.job_columns import BATCHES
from awa_cli.views.words import counted
from awa_cli.web import api
from awa_cli.web.api.bulk_operations import BulkOperationState
from awa_cli.web.pages._list_query import FormField, list_query, parameters
from awa_cli.web.pages.render import act, at, read, render
from awa_cli.web.pages.values import Source, answer
from awa_cli.web.scope import identity_of
from awa_lib.reads.bulk import get_bulk_operation, list_bulk_operations
from awa_lib.reads.runtime import runtime_instances

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib._sql import Op
    from awa_lib.models import BulkOperation

__all__ = ["cancel", "listed", "show"]

_MAX_ROWS: Final = 100
_STATES: Final = ("pending", "running", "completed", "cancelled", "failed")
_PARAMETERS: Final = parameters({"state": BulkOperationState})


def _in_words(column: Any) -> Any:
    """Return the column with words instead of names and JSON."""
    if column.key == "operation":
        return replace(column, get=operation_words)
    if column.key == "filter":
        return replace(column, get=lambda one: filter_words(one.filter))
    if column.key == "state":
        return replace(column, state=lambda one: one.state)
    return replace(column, wide=False) if column.key == "by" else column


_COLUMNS: Final = tuple(_in_words(one) for one in BATCHES if one.key not in {"id", "done"})


async def listed(request: Request) -> Response:
    """List the latest bulk operations."""
    listing = list_query(request, "/batches", _PARAMETERS)
    limited = list_bulk_operations(state=listing.values.get("state"), limit=_MAX_ROWS)
    return await render(
        request,
        "bulk_operations.html",
        422 if listing.problem else 200,
        part="parts/bulk_operations.html",
        listing=listing,
        fields=[FormField("state", "any", _STATES, closed=True)],
        operations=[] if listing.problem else await read(request, limited),
        max_rows=_MAX_ROWS,
        columns=_COLUMNS,
        links={"operation": lambda one: at("batches", one.id)},
        share=share_of,
        done=done_words,
        target=_target,
    )


async def show(request: Request) -> Response:
    """Show a bulk operation."""
    operation, fleet = await read(request, _read_operation(request.path_params["operation_id"]))
    source = Source(f"Batch {operation.id}", at("batches", operation.id))
    if "value" in request.query_params:
        return await answer(request, source, {"filter": operation.filter})
    commands = [f"awa batch show {operation.id}"]
    if not operation.finished:
        commands += [f"awa batch run {operation.id}", f"awa batch cancel {operation.id}"]
    return await render(
        request,
        "bulk_operation.html",
        part="parts/bulk_operation.html",
        operation=operation,
        source=source,
        values={"filter": operation.filter},
        name=operation_words(operation),
        words=filter_words(operation.filter),
        jobs=_jobs(operation.filter),
        share=share_of(operation),
        done=done_words(operation),
        target=_target(operation),
        took=_took(operation),
        unattended=not operation.finished and all(one.stale for one in fleet),
        commands=commands,
    )


def _read_operation(operation_id: str) -> Op[tuple[BulkOperation, Any]]:
    operation = yield from get_bulk_operation(operation_id)
    fleet = yield from runtime_instances()
    return operation, fleet


def _target(operation: BulkOperation) -> str:
    """Return its name for a question, since ids mean nothing to people."""
    return f"{operation_words(operation)} of {counted(operation.total_matched)}"


def _jobs(where: Mapping[str, Any]) -> str | None:
    """Return the address of the jobs that match now, if the list of jobs has these filters."""
    try:
        given = pairs_of(query_of_bulk(where))
    except (KeyError, ValueError):
        return None
    return f"/jobs?{QUERY_STRING.write(given)}" if given else "/jobs"


def _took(operation: BulkOperation) -> float | None:
    if operation.started_at is None or operation.finished_at is None:
        return None
    return (operation.finished_at - operation.started_at).total_seconds()


async def cancel(request: Request) -> Response:
    """Cancel a bulk operation between two batches."""
    operation_id = request.path_params["operation_id"]
    op = api.bulk_operations.cancel(identity_of(request.scope), operation_id)
    return await act(request, op, "batch.cancel", operation_id)
