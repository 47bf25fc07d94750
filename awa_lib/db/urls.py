"""Parse database URLs without taking a part of a password for something else."""

from __future__ import annotations

import os
import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from awa_lib.errors import ValidationError
from awa_lib.validation import storable

__all__ = ["label_of", "read_address"]


def read_address(address: str) -> dict[str, Any]:
    """Return the parts of a URL or of key=value pairs under the names of libpq.

    Raises ValidationError, which does not quote the address: libpq quotes what it cannot read, and
    takes ``user:a/b@host`` for the host ``user`` with the port ``a``, so its messages could show a
    password.
    """
    if not storable(address):
        raise ValidationError(
            "the database URL cannot be read",
            why="it contains a NUL character or half a character (a lone surrogate)",
            hint="write it like postgresql://USER:PASSWORD@HOST:5432/NAME",
        )
    if (found := re.match(r"postgres(?:ql)?://([^?]*)", address)) is not None:
        place, _, name = found[1].partition("/")
        hosts = place.rpartition("@")[2]
        ports = re.findall(r":([^,:\]]*)(?=,|$)", hosts)
        if place.count("@") > 1 or "@" in name or not all(re.fullmatch(r"\d*", p) for p in ports):
            raise ValidationError(
                "the database URL cannot be read",
                why="a port is not a number, or the password contains one of the characters @/:?",
                hint="in user, password and name write @ as %40, / as %2F, : as %3A and ? as %3F",
            )
    try:
        return conninfo_to_dict(address)
    except (psycopg.Error, UnicodeError):  # %80 is no character
        raise ValidationError(
            "the database URL cannot be read",
            why="it is neither postgresql://… nor key=value pairs nor embedded:",
            hint="write it like postgresql://USER:PASSWORD@HOST:5432/NAME",
        ) from None


def label_of(address: str) -> str:
    """Return USER@HOST:PORT/NAME for people, without the password.  Raises ValidationError."""
    if address.startswith("embedded:"):
        return address
    parts = read_address(address)
    if parts.get("service") and not parts.get("host"):
        return f"service {parts['service']}"
    host = str(parts.get("host") or os.environ.get("PGHOST") or "local socket")
    port = str(parts.get("port") or os.environ.get("PGPORT") or "5432")
    user = str(parts.get("user") or os.environ.get("PGUSER") or "")
    name = str(parts.get("dbname") or os.environ.get("PGDATABASE") or user)
    where = f"{host}:{port}" if not host.startswith("/") and host != "local socket" else host
    return f"{user}@{where}/{name}" if user else f"{where}/{name}"
