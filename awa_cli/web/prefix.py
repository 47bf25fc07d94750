"""The path prefix below which a proxy serves this server."""

from __future__ import annotations

import re
from typing import Final

from awa_lib.errors import InvalidInput

__all__ = ["OWN", "is_below", "read_callback_path", "read_prefix"]

_MAX_LENGTH: Final = 200
# Characters that mean the same in a path, in a header, in a cookie and in markup.
_STEPS: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")
OWN: Final = frozenset(
    {"activity", "api", "audit", "batches", "cron", "dlq", "doctor", "failures", "healthz", "jobs"}
    | {"kinds", "metrics", "queues", "readyz", "static", "storage", "workers", "workflows"}
)
"""The first steps of this server's own paths.

A prefix must not start with one: whether a proxy removed the prefix could not be told then.
"""
_PROBES: Final = frozenset({"healthz", "readyz"})


def read_prefix(text: str, name: str) -> str:
    """Return a path prefix like ``/awa``, without a slash at the end; empty for none.

    ``name`` says in errors where the text comes from.  Raises InvalidInput.
    """
    return _read(text, name, OWN, "/awa")


def read_callback_path(text: str, name: str) -> str:
    """Return the path of a server that only receives callbacks, likewise.  Raises InvalidInput."""
    return _read(text, name, _PROBES, "/api/callbacks")


def _read(text: str, name: str, own: frozenset[str], example: str) -> str:
    prefix = text.removesuffix("/")
    if not prefix:
        return ""
    if len(prefix) > _MAX_LENGTH or not _STEPS.fullmatch(prefix):
        raise InvalidInput(
            f"{name} is not a path prefix: {text[:_MAX_LENGTH]!r}",
            why="it must be a path of letters, digits and . _ ~ -",
            hint=f"write it like {example}",
        )
    first = prefix.split("/")[1]
    if first in own:
        raise InvalidInput(
            f"{name} cannot be {prefix!r}",
            why=f"/{first} is a path of the server itself",
            hint=f"use another, like {example}",
        )
    return prefix


def is_below(path: str, prefix: str) -> bool:
    """Return whether a path is the prefix or goes on from it with a slash."""
    return path == prefix or path.startswith(f"{prefix}/")
