"""Argument types and results that several endpoints share, with their descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from awa_cli.views.actions import recorded
from awa_cli.web.json_schema import Rule
from awa_lib.states import StateName
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.access import Identity
    from awa_lib._sql import Op

__all__ = [
    "KEEP",
    "ActionId",
    "BeforeId",
    "Count",
    "DeadLetterFilter",
    "Everything",
    "Ids",
    "JobId",
    "Limit",
    "Name",
    "Object",
    "Ok",
    "Priority",
    "State",
    "Text",
    "Uuid",
    "When",
    "change",
]

R = TypeVar("R")

_TEXT: Final = r"^[^\u0000]*$"
_UUID: Final = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

JobId = Annotated[int, Rule(minimum=1, maximum=INT64_MAX, description="Id of the job.")]
BeforeId = Annotated[
    int | None,
    Rule(
        minimum=0,
        maximum=INT64_MAX,
        description="Only rows with a smaller id.",
    ),
]
Limit = Annotated[int, Rule(minimum=0, maximum=1000, description="At most this number of rows.")]
Ids = Annotated[
    list[Annotated[int, Rule(minimum=1, maximum=INT64_MAX)]],
    Rule(maxItems=10_000, description="Ids of jobs."),
]
Name = Annotated[str, Rule(minLength=1, maxLength=200, pattern=_TEXT)]
Text = Annotated[str, Rule(maxLength=1000, pattern=_TEXT)]
_SPAN: Final = (
    r"^([0-9]{1,9}(\.[0-9]{1,3})?|([0-9]{1,4}(\.[0-9]{1,3})?(ms|s|m|h|d|w)){1,3}( ago)?)$"
)
When = Annotated[
    str,
    Rule(
        maxLength=64,
        anyOf=[{"pattern": _SPAN}, {"format": "date-time"}],
        description="An age, like 2h, or an RFC 3339 timestamp.",
    ),
]
Uuid = Annotated[str, Rule(pattern=_UUID, format="uuid")]
Priority = Annotated[int, Rule(minimum=1, maximum=4, description="1 is the most urgent.")]
Object = Annotated[dict[str, Any], Rule(description="A JSON object.")]
State = StateName
Everything = Annotated[bool, Rule(description="Select everything; needed if there is no filter.")]
ActionId = Annotated[str, Rule(maxLength=100, pattern=r"^[a-z][a-z-]*(\.[a-z-]+)?$")]
# The default of an optional member where null has a meaning of its own.
KEEP: Final[Any] = object()
# The body of a bulk change must have a filter, or all.
DeadLetterFilter: Final = [
    {"required": ["kind"], "properties": {"kind": {"type": "string"}}},
    {"required": ["queue"], "properties": {"queue": {"type": "string"}}},
    {"required": ["tag"], "properties": {"tag": {"type": "string"}}},
    {"required": ["failure"], "properties": {"failure": {"type": "string"}}},
    {"required": ["all"], "properties": {"all": {"const": True}}},
]


@dataclass(frozen=True, slots=True)
class Ok:
    """The change was made."""

    ok: bool = True


@dataclass(frozen=True, slots=True)
class Count:
    """The number of jobs or dead letters that were changed."""

    count: int


def change(
    who: Identity,
    action_id: str,
    target: object,
    op: Op[R],
    *,
    outcome: Callable[[R], dict[str, Any] | None] | None = None,
    **detail: Any,
) -> Op[R]:
    """Return the op of a change that also writes the audit entry of this caller."""
    detail["way"] = who.way
    return recorded(action_id, target, op, via="web", actor=who.name, outcome=outcome, **detail)
