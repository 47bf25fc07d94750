"""Make the roles of ``awa_lib.schema.roles``, or write a script that makes them."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Final

from psycopg import sql as names

from awa_lib._sql import Query, Statement, atomic, sql
from awa_lib.errors import SchemaNotMigrated
from awa_lib.ops.schema import read_schema
from awa_lib.schema.roles import LATER, PURPOSES, RIGHTS, role_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from awa_lib._sql import Op
    from awa_lib.schema.roles import Right

__all__ = ["apply_roles", "role_script"]

_LINE_WIDTH: Final = 80


@atomic
def apply_roles(prefix: str = "awa_") -> Op[None]:
    """Make the roles and give each exactly its rights, in one transaction.  May be repeated.

    The owner role becomes the owner of everything in the schema.  Needs a superuser, or an owner of
    schema and database that may create roles.  Raises SchemaNotMigrated, AccessDenied,
    ValidationError.
    """
    steps = list(_steps(prefix))
    status = yield from read_schema()
    if not status.current:
        raise SchemaNotMigrated(
            "the awa schema is missing or not up to date in this database",
            why="roles get rights on what migrations make",
            hint="apply the migrations: awa migrate",
        )
    for _, text in steps:
        yield Statement(Query("roles", text, ()), ())


def role_script(prefix: str = "awa_") -> str:
    """Return what ``apply_roles`` does as a script for psql.  Raises ValidationError."""
    parts = ["BEGIN;"]
    for about, text in _steps(prefix):
        parts.append(f"-- {about}\n{text};" if about else f"{text};")
    return "\n\n".join([*parts, "COMMIT;"]) + "\n"


def _steps(prefix: str) -> Iterator[tuple[str, str]]:
    """Yield each statement with its comment; without a comment it belongs to the one before."""
    roles = {purpose: role_name(purpose, prefix) for purpose in PURPOSES}

    def fill(template: str, **more: names.Composable) -> str:
        given: dict[str, names.Composable] = dict(more)
        for purpose, name in roles.items():
            given[purpose] = names.Identifier(name)
            given[f"{purpose}_name"] = names.Literal(name)
        text: str = sql.roles(template).query.text
        return names.SQL(text).format(**given).as_string()

    about = "".join(f"\n-- {name}: {PURPOSES[purpose]}." for purpose, name in roles.items())
    yield "Fail soon instead of blocking other sessions.", fill("give_up_early")
    yield f"The missing roles, without a password.{about}", fill("make_roles")
    yield "The migrating role may act as the owner.", fill("join_owner")
    yield "", fill("act_as_owner")
    yield "The schema and everything in it belong to the owner.", fill("take_over")
    yield "Access to the database and the schema.", fill("enter_database")
    yield "", fill("close_schema")
    yield "", fill("enter_schema")
    yield "All earlier grants are revoked.", fill("close_tables")
    yield "", fill("close_sequences")
    yield "", fill("close_functions")
    for purpose in ("runtime", "producer", "readonly"):
        words = f"{roles[purpose]}: {PURPOSES[purpose]}."
        for template, privileges, objects in _grants(purpose):
            role = names.Identifier(roles[purpose])
            yield words, fill(template, privileges=privileges, objects=objects, role=role)
            words = ""
    words = "Tables of later migrations; tables for producers are granted one by one."
    for purpose, given in LATER.items():
        role = names.Identifier(roles[purpose])
        yield words, fill("later_tables", privileges=_list(given), role=role)
        words = ""


def _grants(purpose: str) -> Iterator[tuple[str, names.Composable, names.Composable]]:
    """Yield the template of each GRANT with its privileges and objects."""
    rights = [right for right in RIGHTS if right.purpose == purpose]
    for privileges, tables in _alike(_of(rights, "table")):
        yield "grant_table", _list(privileges), _objects(tables)
    for table, group in groupby(_of(rights, "column"), key=lambda right: right.object):
        yield "grant_table", _by_column(list(group)), _objects([table])
    for privileges, sequences in _alike(_of(rights, "sequence")):
        yield "grant_sequence", _list(privileges), _objects(sequences)
    functions = [one.object for one in _of(rights, "function")]
    yield "grant_function", names.SQL(""), _objects(functions)


def _alike(rights: Sequence[Right]) -> Iterable[tuple[tuple[str, ...], list[str]]]:
    """Return the objects that share their privileges, by these."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, group in groupby(rights, key=lambda right: right.object):
        found.setdefault(tuple(right.privilege for right in group), []).append(name)
    return found.items()


def _of(rights: Sequence[Right], kind: str) -> list[Right]:
    return [right for right in rights if right.kind == kind]


def _by_column(rights: Sequence[Right]) -> names.Composable:
    return names.SQL(",\n    ").join(
        names.SQL("{} ({})").format(_list([privilege]), _list(one.column for one in group))
        for privilege, group in groupby(rights, key=lambda right: right.privilege)
    )


def _objects(found: Iterable[str]) -> names.Composable:
    return _list(f"awa.{name}" for name in found)


def _list(words: Iterable[str]) -> names.Composable:
    """Return a list of names; the names of the schema need no quotes."""
    text = textwrap.fill(", ".join(words), _LINE_WIDTH, subsequent_indent="    ")
    return names.SQL(text)
