"""Findings, and the statements that they suggest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from psycopg import sql as names

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Statement

__all__ = ["Finding", "Severity", "advise", "identifier", "literal", "relation", "set_server"]


class Severity(StrEnum):
    """How bad it is, the worst first."""

    error = "error"
    """Jobs are not done or data is in danger: act now."""
    warning = "warning"
    """It costs, or will become an error; or a check could not look."""
    note = "note"
    """Worth knowing; nothing is wrong."""
    ok = "ok"
    """The check looked and found nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found.  ``do`` is the command or the SQL that mends it, SQL ending in ``;``.

    ``subject`` names what it is about: a queue, a table, a session.
    """

    check: str
    severity: Severity
    what: str
    why: str | None = None
    do: str | None = None
    subject: str | None = None


def advise(*statements: Statement, **values: names.Composable) -> str:
    """Format statements of ``sql/queries/advice.sql`` with names and values, one per line."""
    return "\n".join(
        names.SQL(" ".join(statement.query.text.split())).format(**values).as_string() + ";"
        for statement in statements
    )


def set_server(setting: str, value: str) -> str:
    """Format the statements that change a setting of the server."""
    return advise(
        sql.advice("set_server"),
        sql.advice("reload"),
        name=names.SQL(setting),
        value=names.SQL(value),
    )


def identifier(name: str) -> names.Composable:
    """Format an identifier, quoted only if it has to be."""
    plain = name.isascii() and name.isidentifier() and name.islower()
    return names.SQL(name) if plain else names.Identifier(name)


def relation(name: str) -> names.Composable:
    """Format the qualified name of an object in the schema."""
    return names.SQL("awa.{}").format(identifier(name))


def literal(value: str | float | None) -> names.Composable:
    """Format a value."""
    return names.Literal(value)
