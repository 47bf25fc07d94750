"""What to do about a connection that could not be made.

libpq gives no code for it, only an English text or its translation; a text that is not known gets
no advice.
"""

from __future__ import annotations

from typing import Final

__all__ = ["advice"]

# The first whose words are all in the message.  What is about TLS comes first: the other messages
# may hold names of roles and databases.
_ADVICE: Final = (
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
        ("no pg_hba.conf entry", "no encryption"),
        "add sslmode=verify-full to the URL, or allow plain connections in pg_hba.conf",
    ),
    (
        ("no pg_hba.conf entry",),
        "check the address, user and database in the URL, or allow them in pg_hba.conf",
    ),
    (
        ("server does not support SSL",),
        "turn on ssl on the server; without it, connect with sslmode=prefer on a trusted network",
    ),
    (
        ("channel binding",),
        "channel_binding=require needs TLS and scram-sha-256 on the server; sslmode=verify-full",
    ),
    (
        ("database ", "does not exist"),
        "create it with createdb NAME, or correct the name in the URL",
    ),
    (
        ("is not permitted to log in",),
        "log in as another role; awa roles prints the roles and what each is for",
    ),
    (("password",), "check the user and password in the URL, PGPASSWORD or ~/.pgpass"),
    (("role",), "check the user and password in the URL, PGPASSWORD or ~/.pgpass"),
    (("authentication",), "check the user and password in the URL, PGPASSWORD or ~/.pgpass"),
    (
        ("service", "not found"),
        "define it in ~/.pg_service.conf, or set PGSERVICEFILE; see man awa-config",
    ),
    (("too many",), "wait, or close other connections listed in pg_stat_activity"),
    (("slots",), "wait, or close other connections listed in pg_stat_activity"),
)


def advice(message: str) -> str | None:
    """Return what to do about a refused connection, or None when the text says nothing known."""
    for words, hint in _ADVICE:
        if all(word in message for word in words):
            return hint
    return None
