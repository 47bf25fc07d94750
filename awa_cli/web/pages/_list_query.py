"""What the address of the list of jobs asks for: the names and the syntax of ``GET /api/jobs``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlencode

from awa_cli.filters.text import FIELDS, filter_line
from awa_cli.views.columns import JOBS
from awa_cli.web.api._fields import BeforeId, Name, State, Text, When
from awa_cli.web.api.jobs import Sort, Where, read_query
from awa_cli.web.json_schema import Rule, Schemas, from_text, unknown, without_null
from awa_cli.web.query_string import read_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from awa_lib.reads.jobs import JobQuery

__all__ = ["FILTERS", "Asked", "address", "asked_by", "given_by"]

FILTERS: Final = (*FIELDS, "where")
LIMIT: Final = 50
_COLUMNS: Final = tuple(column.key for column in JOBS)
_PARAMS: Final[dict[str, Any]] = {
    "state": list[State], "kind": Name, "queue": Name, "tag": Name, "since": When, "until": When,
    "error": Text, "where": Where, "before_id": BeforeId, "after_id": BeforeId, "sort": Sort,
    "limit": Annotated[int, Rule(minimum=1, maximum=1000)],
    "column": list[Literal[_COLUMNS]],  # type: ignore[valid-type] # made of the columns there are
    "filter": Text,
}  # fmt: skip


@cache
def _schemas() -> dict[str, dict[str, Any]]:
    schemas = Schemas()
    return {name: without_null(schemas.of(kind)) for name, kind in _PARAMS.items()}


@dataclass(frozen=True, slots=True)
class Asked:
    """The parameters as they were given, and what they mean."""

    params: dict[str, list[str]]
    values: dict[str, Any]

    @property
    def query(self) -> JobQuery:
        """Return the filters as reads take them; ages mean the present.  Raises InvalidInput."""
        given = {name: self.values.get(name) for name in FILTERS if name != "state"}
        return read_query(states=self.values.get("state"), **given)

    @property
    def filters(self) -> dict[str, list[str]]:
        """Return the parameters that filter."""
        return {name: self.params[name] for name in FILTERS if name in self.params}

    @property
    def text(self) -> str:
        """Return the filters as one line."""
        return filter_line(self.filters)

    @property
    def sort(self) -> str:
        """Return the order; by default the newest first."""
        return str(self.values.get("sort", "-id"))

    @property
    def limit(self) -> int:
        """Return how many rows a page has."""
        return int(self.values.get("limit", LIMIT))

    @property
    def command(self) -> str:
        """Return the command that lists the same jobs."""
        from shlex import quote

        words = ["awa job list"]
        for name in (*FILTERS, "before_id", "sort", "limit"):
            values = self.params.get(name, ())
            words += [f"--{name.replace('_', '-')} {quote(value)}" for value in values]
        return " ".join(words)

    def link(self, **changes: Sequence[str] | None) -> str:
        """Return the address with these parameters in place of those; it begins at the first page.

        A parameter that is None is left out.
        """
        kept = {name: v for name, v in self.params.items() if name not in {"before_id", "after_id"}}
        return address({**kept, **changes})


def address(params: Mapping[str, Sequence[str] | None]) -> str:
    """Return the address of a list of jobs."""
    pairs = [(name, value) for name, values in params.items() for value in values or ()]
    return f"/jobs?{urlencode(pairs)}" if pairs else "/jobs"


def given_by(request: Request) -> dict[str, list[str]]:
    """Return the parameters of the address; those without a value are as if not given.

    Raises InvalidInput.
    """
    given: dict[str, list[str]] = {}
    for name, value in read_pairs(request.url.query):
        values = value.split(",") if name == "state" else [value]
        given.setdefault(name, []).extend(values)
    return given


def asked_by(given: Mapping[str, list[str]]) -> Asked:
    """Read the parameters of an address.  Raises InvalidInput and Refused."""
    schemas = _schemas()
    values = {}
    for name, texts in given.items():
        if name not in schemas:
            raise unknown(f"there is no parameter {name!r}", name, schemas)
        values[name] = from_text(schemas[name], texts, name)
    return Asked(dict(given), values)
