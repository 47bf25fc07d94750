"""Errors of psycopg and of the server as errors of the library; none quotes a row."""

from __future__ import annotations

import re
from typing import Final

import psycopg

from awa_lib.db.refusals import advice
from awa_lib.db.sqlstates import READ_ONLY, Meaning, meaning_of
from awa_lib.errors import (
    FIND_PRIMARY,
    AccessDenied,
    AwaError,
    DatabaseError,
    SchemaNotMigrated,
    SerializationError,
    Transient,
    Unavailable,
    UniqueConflict,
)

__all__ = ["explain", "translate", "without_values"]

_UNIQUE: Final = "idx_awa_jobs_unique"
_UNIQUE_VIOLATION: Final = "23505"
_NO_RIGHT: Final = "42501"
# A table, a schema or a function does not exist.
_UNDEFINED: Final = {"42P01", "3F000", "42883"}
# A character that the encoding of the server lacks, or bytes that are no character.
_UNKNOWN_TEXT: Final = {"22P05", "22021"}
_KEYS: Final = {_UNIQUE, "jobs_hot_pkey", "scheduled_jobs_pkey"}
# By a trigger or a function: the words of whoever wrote it.
_RAISED: Final = "P0001"
# The first line of the CONTEXT of a message in the words of a published function: what it quotes is
# its own argument.  Names and keywords are in no language.
_OWN_WORDS = re.compile(r'[^\n]*(?<![\w."])(?:awa\.)?storage_prepare\([^\n]*\bRAISE\b')
# In messages about a value (class 22), what is quoted is the value, in the quotes of any language.
_QUOTED = re.compile('["«»„“”\u2018\u2019「『].*["«»„“”\u2018\u2019」』]', re.DOTALL)
# Of the driver, without a code: the connection is lost, or its answers fit no question, as when a
# pooler reports the loss of its server before a statement is sent.
_BROKEN: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
_HOLDER = re.compile(r"held by job (\d+)")


def translate(error: psycopg.Error | UnicodeError) -> AwaError:
    """Return the library's error for an error of psycopg or of encoding text."""
    if isinstance(error, UnicodeError):
        return _unwritable(error)
    diag = error.diag
    if diag.message_primary is not None:
        # A traceback shows the whole text, of which DETAIL and CONTEXT quote rows; they stay in
        # error.diag.
        error.args = (without_values(diag.message_primary, error.sqlstate, diag.context),)
    return explain(
        diag.message_primary or str(error),
        error.sqlstate,
        constraint=diag.constraint_name,
        detail=diag.message_detail,
        hint=diag.message_hint,
        context=diag.context,
        broken=isinstance(error, _BROKEN),
    )


def explain(
    message: str,
    sqlstate: str | None,
    *,
    constraint: str | None,
    detail: str | None,
    hint: str | None,
    context: str | None,
    broken: bool,
) -> AwaError:
    """Return the library's error for a message of the server or the driver.

    ``context`` is the server's CONTEXT.  ``broken`` is True if an error without a code means a lost
    connection.
    """
    message = without_values(message.strip().replace("\n", " "), sqlstate, context)
    if sqlstate == _UNIQUE_VIOLATION and constraint in _KEYS:
        return _duplicate(constraint, detail)
    if sqlstate in _UNDEFINED and "awa" in message:
        return SchemaNotMigrated(
            "the awa schema is missing or not up to date in this database",
            why=message,
            hint="apply the migrations: awa migrate",
        )
    if sqlstate == _NO_RIGHT:
        return AccessDenied(
            message,
            sqlstate=sqlstate,
            why="the role of this connection lacks the privilege",
            hint="use a role that has it; awa roles prints the roles and their privileges",
        )
    if sqlstate in _UNKNOWN_TEXT:
        return _unstorable(sqlstate)
    meaning = meaning_of(sqlstate, broken=broken)
    if meaning is Meaning.LOST:
        return _lost(message, sqlstate)
    kind = Transient if meaning is Meaning.AGAIN else DatabaseError
    if meaning is Meaning.THEIRS and sqlstate != _RAISED:
        detail = None  # the server quotes the row in it
    if meaning is Meaning.AGAIN:
        detail = detail or "other transactions hold the locks it needs, or it was cancelled"
        hint = hint or "try again"
    return kind(message, sqlstate=sqlstate, constraint=constraint, why=detail, hint=hint)


def _duplicate(constraint: str, detail: str | None) -> AwaError:
    if constraint == _UNIQUE:
        holder = _HOLDER.fullmatch(detail or "")
        return UniqueConflict(constraint=_UNIQUE, job_id=int(holder[1]) if holder else None)
    return DatabaseError(
        "the sequence of job ids gave out an id that is in use",
        sqlstate=_UNIQUE_VIOLATION,
        constraint=constraint,
        why="jobs were copied here without their sequence",
        hint="awa doctor --check ids prints the statement that sets it",
    )


def without_values(message: str, sqlstate: str | None, context: str | None) -> str:
    """Return a message of the server without the value of a row that it quotes."""
    if (sqlstate or "").startswith("22") and not _OWN_WORDS.match(context or ""):
        return _QUOTED.sub('"…"', message)
    return message


def _unwritable(error: UnicodeError) -> SerializationError:
    # The error itself contains the whole text.
    encoding = getattr(error, "encoding", "its encoding")
    return SerializationError(
        f"text cannot be sent over this connection: {encoding} has no such character",
        why="the client_encoding of the connection is not UTF8",
        hint="run SET client_encoding TO 'UTF8' on it first, or leave the character out",
    )


def _unstorable(sqlstate: str | None) -> DatabaseError:
    # The message of the server shows bytes of the job.
    return DatabaseError(
        "text cannot be stored in this database: its encoding has no such character",
        sqlstate=sqlstate,
        why="the database was not created with ENCODING 'UTF8'",
        hint="leave the character out, or move to a database with the encoding UTF8",
    )


def _lost(message: str, sqlstate: str | None) -> Unavailable:
    if sqlstate == READ_ONLY:
        return Unavailable(
            f"the database takes no changes: {message}",
            sqlstate=sqlstate,
            why="the server is a standby or read-only, or the transaction is",
            hint=FIND_PRIMARY,
        )
    if sqlstate is None and (known := advice(message)) is not None:
        return Unavailable(f"cannot connect to the database: {message}", hint=known)
    return Unavailable(
        f"the database is not available: {message}",
        sqlstate=sqlstate,
        why="the server is down, restarting, unreachable or out of connection slots",
        hint="check the server and the database URL, then try again",
    )
