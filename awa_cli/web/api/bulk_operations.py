"""Bulk operations: a change of all matching jobs, with a preview."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from awa_cli.access import Identity
from awa_cli.web.api.fields import Everything, Limit, Name, Object, Priority, State, Uuid, change
from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_cli.web.settings import Settings
from awa_lib._sql import Op
from awa_lib.models import BulkOperation
from awa_lib.ops import bulk
from awa_lib.ops.bulk import BulkPreview
from awa_lib.reads.bulk import get_bulk_operation, list_bulk_operations
from awa_lib.states import CAN_CANCEL, CAN_RETRY, ENDED, QUEUED

__all__ = ["routes"]

routes = Routes("bulk operations")

Operation = Literal["retry", "cancel", "delete", "set_priority", "move_queue"]
Moment = Annotated[str, Rule(format="date-time", maxLength=64)]
ErrorText = Annotated[str, Rule(minLength=1, maxLength=1000, pattern=r"^[^\u0000]*$")]
# The argument of an operation, and the states of the jobs that it can change.
_OPERATIONS: Final = {
    "retry": (None, CAN_RETRY),
    "cancel": (None, CAN_CANCEL),
    "delete": (None, ENDED),
    "set_priority": ("priority", QUEUED),
    "move_queue": ("to_queue", QUEUED),
}
_FILTERS: Final = (
    "state",
    "kind",
    "queue",
    "tag",
    "created_after",
    "created_before",
    "error",
    "failure",
)
# The body must have a filter that is not null, or all.
_FILTER_OR_ALL: Final = [
    *[{"required": [name], "properties": {name: {"type": "string"}}} for name in _FILTERS],
    {"required": ["args"], "properties": {"args": {"type": "object"}}},
    {"required": ["all"], "properties": {"all": {"const": True}}},
]


def _variants(extras: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return, for each operation, the rules of its body."""
    variants = []
    for name, (needs, states) in _OPERATIONS.items():
        properties: dict[str, Any] = {"operation": {"const": name}}
        properties["state"] = {"enum": [*states, None]}
        properties |= {
            extra: {"not": {"type": "null"}} if extra == needs else {"type": "null"}
            for extra in extras
        }
        required = [needs] if needs in extras else []
        variants.append({"properties": properties, "required": ["operation", *required]})
    return variants


BulkOperationState = Literal["pending", "running", "completed", "cancelled", "failed"]


@routes.get("/batch-ops")
def listed(
    *, state: BulkOperationState | None = None, limit: Limit = 20
) -> Op[list[BulkOperation]]:
    """List the latest bulk operations, newest first."""
    return list_bulk_operations(state=state, limit=limit)


@routes.get("/batch-ops/{operation_id}")
def show(operation_id: Uuid) -> Op[BulkOperation]:
    """Show a bulk operation, with the counts of its last batch."""
    return get_bulk_operation(operation_id)


@routes.post("/batch-ops/preview", allOf=[{"oneOf": _variants(())}, {"anyOf": _FILTER_OR_ALL}])
def preview(
    settings: Settings,
    *,
    operation: Operation,
    state: State | None = None,
    kind: Name | None = None,
    queue: Name | None = None,
    tag: Name | None = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    args: Object | None = None,
    error: ErrorText | None = None,
    failure: Name | None = None,
    all: Everything = False,  # noqa: A002 - the name in the JSON document
) -> Op[BulkPreview]:
    """Preview a bulk operation: count and sample the jobs that it would change."""
    where = _where(
        state=state,
        kind=kind,
        queue=queue,
        tag=tag,
        created_after=created_after,
        created_before=created_before,
        args=args,
        error=error,
        failure=failure,
    )
    _check_hidden(settings, where)
    return bulk.preview_bulk_operation(operation, all=all, **where)


@routes.post(
    "/batch-ops",
    allOf=[{"oneOf": _variants(("priority", "to_queue"))}, {"anyOf": _FILTER_OR_ALL}],
)
def submit(
    who: Identity,
    settings: Settings,
    *,
    operation: Operation,
    priority: Priority | None = None,
    to_queue: Name | None = None,
    state: State | None = None,
    kind: Name | None = None,
    queue: Name | None = None,
    tag: Name | None = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    args: Object | None = None,
    error: ErrorText | None = None,
    failure: Name | None = None,
    all: Everything = False,  # noqa: A002 - the name in the JSON document
) -> Op[BulkOperation]:
    """Submit a change of all matching jobs, which the leader of the workers carries out."""
    where = _where(
        state=state,
        kind=kind,
        queue=queue,
        tag=tag,
        created_after=created_after,
        created_before=created_before,
        args=args,
        error=error,
        failure=failure,
    )
    _check_hidden(settings, where)
    op = bulk.submit_bulk_operation(
        operation, priority=priority, to_queue=to_queue, submitted_by=who.name, all=all, **where
    )

    def outcome(submitted: BulkOperation) -> dict[str, Any]:
        return {"id": submitted.id, "total_matched": submitted.total_matched, **submitted.spec}

    target = f"{operation} of jobs"
    return (yield from change(who, "batch.submit", target, op, outcome=outcome, filter=where))


@routes.post("/batch-ops/{operation_id}/cancel")
def cancel(who: Identity, operation_id: Uuid) -> Op[BulkOperation]:
    """Cancel a bulk operation between two batches; the changes made so far are kept."""
    op = bulk.cancel_bulk_operation(operation_id)
    return (yield from change(who, "batch.cancel", operation_id, op))


def _check_hidden(settings: Settings, where: dict[str, Any]) -> None:
    if settings.redactor is not None:
        settings.redactor.check_query({"args": where.get("args")})


def _where(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}
