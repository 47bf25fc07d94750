"""What to do about a connection that could not be made.

The server's and poolers' reasons are told by their codes: their texts may be in any language.
libpq's own have a text only, in English unless libpq was built with translations; a text that is
not known gets no advice.
"""

from __future__ import annotations

import ctypes
import os
import re
import selectors
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from awa_lib.db.connect import plan
from awa_lib.db.urls import read_address

if TYPE_CHECKING:
    from awa_lib.db.connect import Purpose

__all__ = ["Refusal", "advice", "ask_why"]

_ASK_SECONDS: Final = 3
_UNRESOLVED: Final = ("failed to resolve host", "could not translate host name")
_EVENTS: Final[dict[int, int]] = {
    pq.PollingStatus.READING: selectors.EVENT_READ,
    pq.PollingStatus.WRITING: selectors.EVENT_WRITE,
}
# PQERRORS_VERBOSE of libpq-fe.h; the form of its messages is that of pqBuildErrorMessage3.
_VERBOSE: Final = 2
_CODE: Final = re.compile(
    r": +(?P<sqlstate>(?=[A-Z]*[0-9])[0-9A-Z]{5}): .*?(?:\nLOCATION: +(?P<routine>\w+), |$)",
    re.DOTALL,
)

_LOG_IN: Final = "check the user and password in the URL, PGPASSWORD or ~/.pgpass"
_WAIT: Final = "wait, or close other connections listed in pg_stat_activity"
# By SQLSTATE, or by SQLSTATE and routine where a code has several meanings.
_PG_HBA: Final = "28000 ClientAuthentication"
_REFUSED: Final = {
    _PG_HBA: "check the address, user and database in the URL, or allow them in pg_hba.conf",
    "28000 InitializeSessionUserId": "log in as a role that exists and has LOGIN; awa roles prints "
    "the roles and what each is for",
    "28000": _LOG_IN,
    "28P01": _LOG_IN,
    "3D000": "create it with createdb NAME, or correct the name in the URL",
    "42501": "let the role in: GRANT CONNECT ON DATABASE name TO role",
    "53300": _WAIT,
    "55000": "allow connections: ALTER DATABASE name ALLOW_CONNECTIONS true",
    "57P03": "wait until the server has started; its log says how far it is",
}
# The first whose words are all in the message.
_LIBPQ: Final = (
    (
        ("certificate verify failed",),
        "set sslrootcert to the certificate of the authority that signed the server's",
    ),
    (
        ("root certificate file", "does not exist"),
        "set sslrootcert to the certificate of the authority that signed the server's",
    ),
    (
        ("does not match host name",),
        "set host to a name in the certificate of the server; hostaddr may be its address",
    ),
    (
        ("server does not support SSL",),
        "turn on ssl on the server; without it, connect with sslmode=prefer on a trusted network",
    ),
    (
        ("channel binding",),
        "channel_binding=require needs TLS and scram-sha-256 on the server; sslmode=verify-full",
    ),
    (("fe_sendauth: no password supplied",), _LOG_IN),
    (
        ("service", "not found"),
        "define it in ~/.pg_service.conf, or set PGSERVICEFILE; see man awa-config",
    ),
)


class Refusal(NamedTuple):
    """Why a server or pooler refused a connection, in words that no language changes."""

    sqlstate: str
    routine: str
    """The function of the server's source that refused; empty for a pooler."""
    plain: bool
    """The connection was not to be encrypted."""


def ask_why(error: psycopg.Error, dsn: str, purpose: Purpose, **arguments: Any) -> Refusal | None:
    """Connect once more, for at most 3 s, to learn the code of a refusal.

    libpq's error of connecting has a text only, which may be in the server's language.  Returns
    None when nobody answered, when the connection is made now, or where libpq cannot be told to
    show codes.
    """
    if error.sqlstate is not None or isinstance(error, psycopg.errors.ConnectionTimeout):
        return None
    if any(words in str(error) for words in _UNRESOLVED):
        return None  # nobody was asked, and a resolver may take its time again
    planned = plan(dsn, purpose) | arguments
    del planned["autocommit"]
    pgconn = pq.PGconn.connect_start(make_conninfo(dsn, **planned).encode())
    until = time.monotonic() + _ASK_SECONDS
    try:
        if not _show_codes(pgconn):
            return None
        while (left := until - time.monotonic()) > 0:
            event = _EVENTS.get(pgconn.connect_poll())
            if event is None:
                break
            # Unlike select.select it works for file descriptors above 1023.
            with selectors.DefaultSelector() as selector:
                selector.register(pgconn.socket, event)
                selector.select(left)
        found = _CODE.search(pgconn.error_message.decode(errors="replace"))
    finally:
        pgconn.finish()
    plain = (read_address(dsn).get("sslmode") or os.environ.get("PGSSLMODE")) == "disable"
    return found and Refusal(found["sqlstate"], found["routine"] or "", plain)


def _show_codes(pgconn: pq.abc.PGconn) -> bool:
    """Make libpq show codes in its messages; psycopg has no door to this setting."""
    try:
        # The library that this module of psycopg is linked to.
        libpq = ctypes.CDLL(sys.modules[type(pgconn).__module__].__file__)
        set_verbosity = libpq.PQsetErrorVerbosity
    except (OSError, AttributeError):
        return False
    set_verbosity(ctypes.c_void_p(pgconn.pgconn_ptr), _VERBOSE)  # type: ignore[attr-defined] # in both implementations
    return True


def advice(message: str, refusal: Refusal | None = None) -> str | None:
    """Return what to do about a connection that was not made, or None when the cause is unknown."""
    if refusal is not None:
        told = f"{refusal.sqlstate} {refusal.routine}"
        if told == _PG_HBA and refusal.plain:
            return "add sslmode=verify-full to the URL, or allow plain connections in pg_hba.conf"
        known = _REFUSED.get(told) or _REFUSED.get(refusal.sqlstate)
        if known is not None:
            return known
    for words, hint in _LIBPQ:
        if all(word in message for word in words):
            return hint
    return None
