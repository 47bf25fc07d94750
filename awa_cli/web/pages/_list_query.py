"""The query string of a list: its filter, the parameters of its page, and addresses with others."""

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
    "keyset",
    "list_query",
    "parameters",
]

LIMIT: Final = 50
_PAGE: Final = frozenset({"before_id", "after_id"})
# Parameters that are no options of the command.
_NO_OPTIONS: Final = frozenset({"after_id", "column", "filter"})


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of the form above a list."""

    name: str
    hint: str = ""
    choices: Sequence[str] = ()
    closed: bool = False
    """Whether there are no values but the choices."""

    @property
    def label(self) -> str:
        """Return the label of the field."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The parameters of an address as they were given, and what they mean."""

    path: str
    params: Params
    filters: Params = field(default_factory=dict)
    """Those of the parameters that filter."""
    query: JobQuery = field(default_factory=JobQuery)
    values: Mapping[str, Any] = field(default_factory=dict)
    """The other parameters, read."""
    problem: InvalidInput | None = None
    """Why the parameters cannot be used, for the page to show."""

    @property
    def text(self) -> str:
        """Return the filter as one line."""
        return TEXT.write(_pairs(self.filters))

    @property
    def before_id(self) -> int | None:
        """Return the id that the page ends before."""
        return self.values.get("before_id")

    @property
    def first(self) -> str | None:
        """Return the address of the first page, from a later one."""
        return self.link() if self.before_id is not None else None

    def given(self, name: str) -> str:
        """Return the text of a parameter, or an empty one."""
        return self.params[name][-1] if self.params.get(name) else ""

    def link(self, **changes: object) -> str:
        """Return the address of the first page with some parameters changed.

        A parameter that is None is left out.
        """
        kept = {name: texts for name, texts in self.params.items() if name not in _PAGE}
        return address({**kept, **changes}, self.path)

    def command(self, words: str) -> str:
        """Return the command with the same parameters."""
        given = {name: texts for name, texts in self.params.items() if name not in _NO_OPTIONS}
        options = OPTIONS.write((name.replace("_", "-"), text) for name, text in _pairs(given))
        return f"{words} {options}".rstrip()


def _pairs(params: Params) -> list[tuple[str, str]]:
    return [(name, text) for name, texts in params.items() for text in texts]


def address(params: Mapping[str, object], path: str = "/jobs") -> str:
    """Return the address of a list; a value is one text or a sequence of them, None is left out."""
    given = {
        name: [str(value)] if isinstance(value, str | int) else value
        for name, value in params.items()
        if isinstance(value, str | int | Sequence)
    }
    query = QUERY_STRING.write(_pairs(given))
    return f"{path}?{query}" if query else path


def parameters(kinds: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each parameter of a page, given its type."""
    schemas = Schemas()
    return {name: without_null(schemas.of(kind)) for name, kind in kinds.items()}


def filter_of(params: Params, read: Read = Read.JOBS) -> JobQuery:
    """Return the filter that some of the parameters make.  Raises InvalidInput."""
    known = fields_of(read)
    return QUERY_STRING.read([one for one in _pairs(params) if one[0] in known], read)


def list_query(
    request: Request, path: str, own: Mapping[str, dict[str, Any]], read: Read | None = None
) -> ListQuery:
    """Read the address of a list with these parameters of its own, and the filter of ``read``.

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


def keyset(asked: ListQuery, rows: list[Any]) -> tuple[list[Any], str | None]:
    """Return a page of rows, of which one more was read, and the address of the older ones."""
    if len(rows) <= LIMIT:
        return rows, None
    page = rows[:LIMIT]
    return page, asked.link(before_id=page[-1].id)
