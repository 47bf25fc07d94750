"""Read the objects of the schema, and those that the migrations create."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import folder, sql
from awa_lib.schema.scripts import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib._sql import Op

__all__ = [
    "Catalog",
    "Column",
    "Constraint",
    "Index",
    "Trigger",
    "definition",
    "read_catalog",
    "reference",
]

# Written by .ci/schema from a freshly migrated database, and from one that awa 0.5.7 has migrated.
_FILE: Final = "schema.json"


@dataclass(frozen=True, slots=True)
class Column:
    """A column."""

    type: str
    not_null: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Constraint:
    """A check or a foreign key; ``definition`` is None for those of a database."""

    valid: bool = True
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """An index.  Its condition is left out: versions of PostgreSQL print it differently."""

    table_name: str
    is_unique: bool
    is_partial: bool
    method: str
    keys: tuple[str, ...]
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger and the function it calls."""

    function: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Catalog:
    """The objects of the schema: indexes by name; columns, constraints, triggers by table and name.

    ``functions`` maps a signature to the digests of accepted sources.
    """

    columns: Mapping[tuple[str, str], Column]
    constraints: Mapping[tuple[str, str], Constraint]
    indexes: Mapping[str, Index]
    functions: Mapping[str, frozenset[str]]
    triggers: Mapping[tuple[str, str], Trigger]

    @property
    def tables(self) -> set[str]:
        """Return the names of tables and views."""
        return {table for table, _ in self.columns}


def read_catalog() -> Op[Catalog]:
    """Read the objects of the schema from the database."""
    columns = yield sql.doctor("columns")
    constraints = yield sql.doctor("constraints")
    indexes = yield sql.doctor("indexes")
    functions = yield sql.doctor("functions")
    triggers = yield sql.doctor("triggers")
    return Catalog(
        {(table, name): Column(*column) for table, name, *column in columns},
        {(table, name): Constraint(valid) for table, name, valid in constraints},
        {
            name: Index(table, unique, partial, method, tuple(keys), usable)
            for name, table, unique, partial, method, keys, usable in indexes
        },
        {name: frozenset([digest]) for name, digest in functions},
        {(table, name): Trigger(function, on) for table, name, function, on in triggers},
    )


@cache
def reference() -> Catalog:
    """Return the objects that the migrations create, also on top of the schema of awa 0.5.7."""
    given: dict[str, Any] = json.loads((folder() / _FILE).read_text(encoding="utf-8"))
    return Catalog(
        {
            (table, name): Column(*column)
            for table, columns in given["columns"].items()
            for name, column in columns.items()
        },
        {
            (table, name): Constraint(definition=definition)
            for table, constraints in given["constraints"].items()
            for name, definition in constraints.items()
        },
        {
            name: Index(table, unique, partial, method, tuple(keys))
            for name, (table, unique, partial, method, keys) in given["indexes"].items()
        },
        {name: frozenset(digests) for name, digests in given["functions"].items()},
        {
            (table, name): Trigger(function)
            for table, triggers in given["triggers"].items()
            for name, function in triggers.items()
        },
    )


_FORMS: Final = {
    "function": r"^CREATE (?:OR REPLACE )?FUNCTION awa\.{}\(.*?^\$function\$;$",
    "index": r"^CREATE (?:UNIQUE )?INDEX (?:CONCURRENTLY )?(?:IF NOT EXISTS )?{}\s.*?;$",
    "trigger": r"^CREATE TRIGGER {}\s.*?;$",
}


# A search of all migrations takes a millisecond, for each object and in each examination.
@cache
def definition(kind: str, name: str) -> str | None:
    """Return the last statement of the migrations that creates a function, index or trigger.

    An index is built concurrently.
    """
    form = re.compile(_FORMS[kind].format(re.escape(name)), re.MULTILINE | re.DOTALL)
    found = [text for script in load() for text in form.findall(script.sql)]
    if not found:
        return None
    made: str = found[-1]
    if kind == "function":
        return re.sub(r"^CREATE FUNCTION", "CREATE OR REPLACE FUNCTION", made)
    line = " ".join(made.split())
    return re.sub(r"INDEX (CONCURRENTLY |IF NOT EXISTS )*", "INDEX CONCURRENTLY ", line, count=1)
