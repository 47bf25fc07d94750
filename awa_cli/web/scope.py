"""What the guard adds to the scope of a request, for everything behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Scope

    from awa_cli.access import Identity

__all__ = ["IDENTITY", "PAGES", "PATH", "ROOT", "identity_of", "root_of"]

PATH: Final = "awa.path"
"""Key of the path below the place of this server: below a proxy's prefix and a mount point."""
ROOT: Final = "awa.root"
"""Key of the place of this server, as the start of each of its URLs."""
IDENTITY: Final = "awa.identity"
"""Key of the caller's identity."""
PAGES: Final = "awa.pages"
"""Key of whether this server has pages, and so answers a browser's faults with a page."""


def identity_of(scope: Scope) -> Identity:
    """Return the identity of the caller."""
    found: Identity = scope[IDENTITY]
    return found


def root_of(scope: Scope) -> str:
    """Return the start of each URL of this server: empty, or like ``/awa``, quoted."""
    found: str = scope[ROOT]
    return found
