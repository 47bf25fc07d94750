"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from psycopg import sql as names

if TYPE_CHECKING:
    from awa_lib._sql import Statement

__all__ = ["Finding", "Severity", "advise", "identifier", "literal", "relation"]


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
    """Write statements of ``sql/queries/advice.sql`` with their names and values, a line each."""
    return "\n".join(
        names.SQL(" ".join(one.query.text.split())).format(**values).as_string() + ";"
        for one in statements
    )


def identifier(name: str) -> names.Composable:
    """Write a name, quoted where it must be."""
    plain = name.isascii() and name.isidentifier() and name.islower()
    return names.SQL(name) if plain else names.Identifier(name)


def relation(name: str) -> names.Composable:
    """Write the name of something in the schema."""
    return names.SQL("awa.{}").format(identifier(name))


def literal(value: str | float | None) -> names.Composable:
    """Write a value."""
    return names.Literal(value)
