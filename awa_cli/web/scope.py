"""What the guard adds to the scope of a request, for everything behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Scope

    from awa_cli.access import Identity

__all__ = ["IDENTITY", "PATH", "identity_of"]

PATH: Final = "awa.path"
"""Key of the path below the place where this server is mounted."""
IDENTITY: Final = "awa.identity"
"""Key of the caller's identity."""


def identity_of(scope: Scope) -> Identity:
    """Return the identity of the caller."""
    found: Identity = scope[IDENTITY]
    return found
