"""The query string of a list: its filter, its other parameters, and addresses with changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.query import Read, fields_of
from awa_cli.filters.spelling import OPTIONS, QUERY_STRING, TEXT
from awa_cli.web.json_schema import Schemas, from_text, unknown, without_null
from awa_cli.web.query_string import read_params
from awa_lib.errors import InvalidInput
from awa_lib.filters import JobQuery

if TYPE_CHECKING:
    from starlette.requests import Request

    Params = Mapping[str, Sequence[str]]

__all__ = [
    "LIMIT",
    "FormField",
    "ListQuery",
    "address",
    "filter_of",
    "list_query",
    "parameters",
    "split_older",
]

LIMIT: Final = 50
_POSITION: Final = frozenset({"before_id", "after_id", "after"})
# Parameters that are not options of the command.
_NO_OPTIONS: Final = frozenset({"after_id", "column", "filter"})


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of the form above a list."""

    name: str
    hint: str = ""
    choices: Sequence[str] = ()
    closed: bool = False
    """Whether only the choices are allowed."""

    @property
    def label(self) -> str:
        """The label of the field."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The parameters of an address: as text, and parsed."""

    path: str
    params: Params
    filters: Params = field(default_factory=dict)
    """The parameters of the filter."""
    query: JobQuery = field(default_factory=JobQuery)
    values: Mapping[str, Any] = field(default_factory=dict)
    """The other parameters, parsed."""
    problem: InvalidInput | None = None
    """The error in the parameters, which the page shows."""

    @property
    def text(self) -> str:
        """The filter as a line of text."""
        return TEXT.write(_pairs(self.filters))

    @property
    def before_id(self) -> int | None:
        """The id that limits the rows to older rows."""
        return self.values.get("before_id")

    @property
    def newest(self) -> str | None:
        """The address of the newest rows, if the list shows older rows."""
        return self.link() if self.before_id is not None else None

    def given(self, name: str) -> str:
        """Return the text of a parameter, or an empty text."""
        return self.params[name][-1] if self.params.get(name) else ""

    def link(self, **changes: object) -> str:
        """Return the address of the newest rows with these parameters; None removes a parameter."""
        kept = {name: texts for name, texts in self.params.items() if name not in _POSITION}
        return address({**kept, **changes}, self.path)

    def command(self, words: str) -> str:
        """Return the command with the same parameters."""
        given = {name: texts for name, texts in self.params.items() if name not in _NO_OPTIONS}
        options = OPTIONS.write((name.replace("_", "-"), text) for name, text in _pairs(given))
        return f"{words} {options}".rstrip()


def _pairs(params: Params) -> list[tuple[str, str]]:
    return [(name, text) for name, texts in params.items() for text in texts]


def address(params: Mapping[str, object], path: str = "/jobs") -> str:
    """Return the address of a list; a value is a text or a sequence of texts, or None for none."""
    given = {
        name: [str(value)] if isinstance(value, str | int) else value
        for name, value in params.items()
        if isinstance(value, str | int | Sequence)
    }
    query = QUERY_STRING.write(_pairs(given))
    return f"{path}?{query}" if query else path


def parameters(kinds: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each parameter, given its type."""
    schemas = Schemas()
    return {name: without_null(schemas.of(kind)) for name, kind in kinds.items()}


def filter_of(params: Params, read: Read = Read.JOBS) -> JobQuery:
    """Return the filter in the parameters, of which others are ignored.  Raises InvalidInput."""
    known = fields_of(read)
    return QUERY_STRING.read([pair for pair in _pairs(params) if pair[0] in known], read)


def list_query(
    request: Request, path: str, own: Mapping[str, dict[str, Any]], read: Read | None = None
) -> ListQuery:
    """Parse the address of a list: the filter of ``read``, and its ``own`` parameters.

    Raises InvalidInput if the address is not a query string.
    """
    params = read_params(request.url.query)
    known = fields_of(read) if read is not None else {}
    filters = {name: texts for name, texts in params.items() if name in known}
    try:
        for name in params:
            if name not in known and name not in own:
                raise unknown(f"there is no parameter {name!r}", name, [*known, *own])
        query = QUERY_STRING.read(_pairs(filters), read) if read is not None else JobQuery()
        values = {
            name: from_text(own[name], texts, name) for name, texts in params.items() if name in own
        }
    except InvalidInput as error:
        usable = {name: texts for name, texts in params.items() if name in known or name in own}
        return ListQuery(path, usable, filters, problem=error)
    return ListQuery(path, params, filters, query, values)


def split_older(listing: ListQuery, rows: list[Any]) -> tuple[list[Any], str | None]:
    """Return the first LIMIT rows, and the address of older rows if more than LIMIT were read."""
    if len(rows) <= LIMIT:
        return rows, None
    return rows[:LIMIT], listing.link(before_id=rows[LIMIT - 1].id)
