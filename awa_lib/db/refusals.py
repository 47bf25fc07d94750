"""What to do about a connection that could not be made.

The server's and poolers' reasons are told by their codes: their texts may be in any language.
libpq's own have a text only, in English unless libpq was built with translations; a text that is
not known gets no advice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from awa_lib.db.connect import Refusal

__all__ = ["advice"]

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
