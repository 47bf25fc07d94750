"""Read and write filters of jobs: one table of fields for options, filter texts and query strings.

A surface gives a filter as pairs (field, text) and shows errors in its own ``Spelling``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from awa_cli.clock import asked
from awa_cli.filters.values import parse_moment
from awa_lib.errors import AwaError
from awa_lib.states import STATES, TASK_STATES, WORKFLOW_STATES
from awa_lib.validation import LONGEST_NAME, parse_duration, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from awa_lib.filters import JobFilter, JobQuery

__all__ = [
    "FIELDS",
    "Field",
    "InvalidFilter",
    "Pair",
    "Read",
    "bulk_filter",
    "compact_json",
    "fields_of",
    "pairs",
    "pairs_of",
    "query_of_bulk",
    "read_filter",
]

Pair = tuple[str, str]
"""A field, and the text that was given for it."""
_LONGEST_TEXT: Final = 10_000
_CONDITION: Final = re.compile(r"(args|metadata)\.([^=]+)=(.*)", re.DOTALL)


class Read(StrEnum):
    """What a filter narrows; each takes its own fields."""

    JOBS = "jobs"
    DEAD_LETTERS = "dead letters"
    ACTIVITY = "activity"
    BULK = "bulk operations"
    AUDIT = "changes"
    WORKFLOWS = "workflows"
    TASKS = "tasks"


@dataclass(slots=True)
class InvalidFilter(Exception):
    """A value that a field does not take.

    ``examples`` are values of the field that complete the sentence ``do``.
    """

    field: str
    value: str
    fault: str
    why: str | None = None
    do: str | None = None
    examples: tuple[str, ...] = ()


class _Type(Protocol):
    """The type of a field's values: from text to a part of a query, and back."""

    def parse(self, field: str, text: str) -> dict[str, Any]:
        """Return the part of a query that a text means.  Raises InvalidFilter."""

    def write(self, field: str, query: Mapping[str, Any]) -> Iterable[str]:
        """Return the texts that mean this part of a query.  Raises ValueError if none do."""


@dataclass(frozen=True, slots=True)
class _Text:
    longest: int

    def parse(self, field: str, text: str) -> dict[str, Any]:
        if len(text) > self.longest:
            raise InvalidFilter(field, text, f"has more than {self.longest:,} characters")
        if not storable(text):
            raise InvalidFilter(field, text, "holds a character that Postgres cannot store")
        return {field: text}

    def write(self, field: str, query: Mapping[str, Any]) -> Iterable[str]:
        return [] if query.get(field) is None else [query[field]]


class _State:
    def parse(self, field: str, text: str) -> dict[str, Any]:
        states = text.split(",")
        for state in states:
            if state not in STATES:
                from awa_lib.validation import nearest

                near = nearest(state.lower(), STATES, cutoff=0.5)
                raise InvalidFilter(
                    field,
                    state,
                    "is not a state of jobs",
                    why=f"states are {', '.join(STATES)}",
                    do=None if near is None else "did you mean:",
                    examples=() if near is None else (near,),
                )
        return {"states": states}

    def write(self, field: str, query: Mapping[str, Any]) -> Iterable[str]:  # noqa: ARG002 - _Type
        return query.get("states") or ()


@dataclass(frozen=True, slots=True)
class _OneState:
    """One state of a workflow or of a task."""

    of: str
    known: tuple[str, ...]

    def parse(self, field: str, text: str) -> dict[str, Any]:
        if text in self.known:
            return {field: text}
        from awa_lib.validation import nearest

        near = nearest(text.lower(), self.known, cutoff=0.5)
        raise InvalidFilter(
            field,
            text,
            f"is not a state of {self.of}",
            why=f"states are {', '.join(self.known)}",
            do=None if near is None else "did you mean:",
            examples=() if near is None else (near,),
        )

    def write(self, field: str, query: Mapping[str, Any]) -> Iterable[str]:
        return [] if query.get(field) is None else [query[field]]


class _Moment:
    def parse(self, field: str, text: str) -> dict[str, Any]:
        examples = ("2h", "2030-01-31T08:00:00Z")
        try:
            if re.match(r"\d{4}-", text):
                return {field: parse_moment(text)}
            return {field: asked() - parse_duration(text.removesuffix(" ago"))}
        except (ValueError, OverflowError):
            raise InvalidFilter(
                field,
                text,
                "is neither a duration nor a moment",
                do="write it like",
                examples=examples,
            ) from None

    def write(self, field: str, query: Mapping[str, Any]) -> Iterable[str]:
        moment = query.get(field)
        if isinstance(moment, datetime):
            moment = moment.isoformat()
        return [] if moment is None else [moment]


class _Condition:
    """``args.customer=42``: the value is JSON, or text if it is not."""

    def parse(self, field: str, text: str) -> dict[str, Any]:
        from awa_lib.codec.encode import encode_object

        found = _CONDITION.fullmatch(text)
        if found is None or "" in (path := found[2].split(".")):
            raise InvalidFilter(
                field,
                text,
                "cannot be read",
                do="write it like",
                examples=("args.customer=42", 'args.to="a@example.org"'),
            )
        value = _json_or_text(found[3])
        for name in reversed(path):
            value = {name: value}
        try:
            encode_object(value, name=found[1])
        except AwaError as error:
            raise InvalidFilter(field, text, "cannot be in a job", why=str(error)) from None
        return {found[1]: value}

    def write(self, field: str, query: Mapping[str, Any]) -> Iterator[str]:  # noqa: ARG002 - _Type
        for root in ("args", "metadata"):
            if (value := query.get(root)) is None:
                continue
            for name, part in value.items():
                if not name or set(".=") & set(name):
                    raise ValueError(f"no condition names the key {name!r}")
                yield f"{root}.{name}={_as_text(part)}"
            if not value:
                raise ValueError(f"no condition means any {root}")


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _as_text(value: Any) -> str:
    if isinstance(value, str) and _json_or_text(value) == value:
        return value
    return _dumps(value)


def compact_json(text: str) -> str:
    """Return the value of a condition as JSON without spaces between its parts."""
    try:
        return _dumps(_json_or_text(text))
    except (ValueError, RecursionError):
        return _dumps(text)


_dumps: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a filter."""

    name: str
    type: _Type
    reads: frozenset[Read]
    example: str
    choices: tuple[str, ...] = ()
    """Values for completion, where they do not come from the database."""
    repeats: bool = False


_JOBS: Final = frozenset({Read.JOBS, Read.BULK})
_EVENTS: Final = _JOBS | {Read.ACTIVITY}
_ALL: Final = _EVENTS | {Read.DEAD_LETTERS}
_TIMED: Final = _JOBS | {Read.AUDIT}
_AGES: Final = ("15m", "1h", "2h", "24h", "7d")
_NAME: Final = _Text(LONGEST_NAME)
FIELDS: Final = (
    Field("state", _State(), _EVENTS, "failed", choices=STATES, repeats=True),
    Field("kind", _NAME, _ALL, "email"),
    Field("queue", _NAME, _ALL, "email"),
    Field("tag", _NAME, _ALL, "nightly"),
    Field("since", _Moment(), _TIMED, "2h", choices=_AGES),
    Field("until", _Moment(), _TIMED, "1h", choices=_AGES),
    Field("where", _Condition(), _JOBS, "args.customer=42", repeats=True),
    Field("error", _Text(_LONGEST_TEXT), _EVENTS, "timeout"),
    Field("failure", _NAME, _JOBS | {Read.DEAD_LETTERS}, "3f9a2c81d0e1"),
)
_WORKFLOWS: Final = frozenset({Read.WORKFLOWS})
_TASKS: Final = frozenset({Read.TASKS})
_OF_WORKFLOWS: Final = (
    Field("state", _OneState("workflows", WORKFLOW_STATES), _WORKFLOWS, "open", WORKFLOW_STATES),
    Field("name", _NAME, _WORKFLOWS, "import"),
    Field("key", _NAME, _WORKFLOWS, "2026-11-29"),
    Field("state", _OneState("tasks", TASK_STATES), _TASKS, "failed", TASK_STATES),
    Field("group", _NAME, _TASKS, "parts"),
)
# Keys of a query, and what bulk operations call them.
_BULK_NAMES: Final = {
    "kind": "kind",
    "queue": "queue",
    "tag": "tag",
    "since": "created_after",
    "until": "created_before",
    "args": "args",
    "error": "error",
    "failure": "failure",
}


def fields_of(read: Read) -> dict[str, Field]:
    """Return the fields that this read takes, by name."""
    return {field.name: field for field in (*FIELDS, *_OF_WORKFLOWS) if read in field.reads}


def pairs(**given: str | Iterable[str] | None) -> list[Pair]:
    """Return the pairs of values that are given by field; None is not given."""
    return [
        (field, text)
        for field, texts in given.items()
        for text in ([texts] if isinstance(texts, str) else texts or ())
    ]


def read_filter(given: Iterable[Pair], read: Read = Read.JOBS) -> JobQuery:
    """Return what the pairs mean, with the given keys only.  Raises InvalidFilter."""
    known = fields_of(read)
    query: dict[str, Any] = {}
    seen = set()
    for name, text in given:
        if name not in known:
            why = f"{read} can be filtered by {', '.join(known)}"
            raise InvalidFilter(name, text, f"does not filter {read}", why)
        if name in seen and not known[name].repeats:
            raise InvalidFilter(
                name,
                text,
                "is given twice",
                why="all conditions of a filter must hold",
                do="leave one out",
            )
        seen.add(name)
        if not _add(query, known[name].type.parse(name, text)):
            raise InvalidFilter(name, text, "contradicts another condition", do="leave one out")
    return cast("JobQuery", query)


def _add(query: dict[str, Any], part: Mapping[str, Any]) -> bool:
    """Add a part to a query; return False if no job can fit both."""
    if "states" in part:
        query["states"] = [*query.get("states", ()), *part["states"]]
        return True
    return _merge(query, part)


def _merge(into: dict[str, Any], part: Mapping[str, Any]) -> bool:
    for key, value in part.items():
        if key not in into:
            into[key] = value
        elif isinstance(into[key], dict) and isinstance(value, dict):
            if not _merge(into[key], value):
                return False
        elif json.dumps(into[key]) != json.dumps(value):
            return False
    return True


def pairs_of(query: Mapping[str, Any]) -> list[Pair]:
    """Return the pairs that mean this query.  Raises ValueError if no pairs do."""
    return [(field.name, text) for field in FIELDS for text in field.type.write(field.name, query)]


def bulk_filter(query: JobQuery) -> JobFilter:
    """Return a query as the filter of a bulk operation.  Raises InvalidFilter."""
    states = query.get("states") or ()
    if len(states) > 1:
        raise InvalidFilter(
            "state",
            ",".join(states),
            "names several states",
            why="a bulk operation takes one, or all that it can change",
            do="run it once for each state",
        )
    if query.get("metadata"):
        raise InvalidFilter(
            "where",
            next(text for _, text in pairs_of({"metadata": query["metadata"]})),
            "does not filter bulk operations",
            why="they take conditions on args, not on metadata",
            do="list the jobs that fit, and change them by id",
        )
    where: dict[str, Any] = {
        _BULK_NAMES[name]: value.isoformat() if isinstance(value, datetime) else value
        for name, value in query.items()
        if name in _BULK_NAMES
    }
    return cast("JobFilter", where | ({"state": states[0]} if states else {}))


def query_of_bulk(where: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filter of a bulk operation as a query.  Raises KeyError for an unknown key."""
    names = {bulk: name for name, bulk in _BULK_NAMES.items()}
    query = {names[key]: value for key, value in where.items() if key != "state"}
    return query | ({"states": [where["state"]]} if "state" in where else {})
