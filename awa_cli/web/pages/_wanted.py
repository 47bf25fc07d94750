"""What the address of a list wants: its filters, checked as the API checks them, and its page."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from awa_cli.web.json_schema import Schemas, from_text, unknown, without_null
from awa_cli.web.pages._list_query import given_by
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from starlette.requests import Request

__all__ = ["LIMIT", "Field", "Wanted", "keyset", "wanted_by"]

LIMIT: Final = 50
_BEFORE: Final = "before_id"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the form above a list; ``kind`` is the type its endpoint takes."""

    name: str
    kind: Any
    hint: str = ""
    choices: Sequence[str] = ()
    closed: bool = False
    """Whether there are no values but the choices."""

    @property
    def label(self) -> str:
        """Return what stands before it."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parameters of an address as they were given, and what they mean."""

    path: str
    params: dict[str, str]
    values: dict[str, Any] = field(default_factory=dict)
    problem: InvalidInput | None = None

    @property
    def filters(self) -> dict[str, Any]:
        """Return the values that filter."""
        return {name: value for name, value in self.values.items() if name != _BEFORE}

    @property
    def before_id(self) -> int | None:
        """Return the id that the page ends before."""
        return self.values.get(_BEFORE)

    @property
    def first(self) -> str | None:
        """Return the address of the first page, from a later one."""
        return self.link() if self.before_id is not None else None

    def link(self, **changes: object) -> str:
        """Return the address with these in place of those; None leaves one out."""
        kept = {name: text for name, text in self.params.items() if name != _BEFORE}
        pairs = {name: value for name, value in {**kept, **changes}.items() if value is not None}
        return f"{self.path}?{urlencode(pairs)}" if pairs else self.path

    def command(self, words: str) -> str:
        """Return the command with the same filters."""
        from shlex import quote

        given = [f"--{name.replace('_', '-')} {quote(text)}" for name, text in self.params.items()]
        return " ".join([words, *given])


def wanted_by(request: Request, path: str, kinds: Mapping[str, Any]) -> Wanted:
    """Read the address: a value that cannot be used is a ``problem``, for the page to show.

    Raises InvalidInput for a name that is none.
    """
    params = {name: values[-1] for name, values in given_by(request).items()}
    schemas = _schemas(tuple(kinds.items()))
    values = {}
    for name, text in params.items():
        if name not in schemas:
            raise unknown(f"there is no parameter {name!r}", name, schemas)
        try:
            values[name] = from_text(schemas[name], [text], name)
        except InvalidInput as error:
            return Wanted(path, params, problem=error)
    return Wanted(path, params, values)


@cache
def _schemas(kinds: Iterable[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    schemas = Schemas()
    return {name: without_null(schemas.of(kind)) for name, kind in kinds}


def keyset(wanted: Wanted, rows: list[Any]) -> tuple[list[Any], str | None]:
    """Return a page of rows, of which one more was read, and the address of the older ones."""
    if len(rows) <= LIMIT:
        return rows, None
    page = rows[:LIMIT]
    return page, wanted.link(before_id=page[-1].id)
