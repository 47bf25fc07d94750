"""How a server is set up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from awa_lib.db.pool import PoolLimits

if TYPE_CHECKING:
    from awa_cli.redact import Redactor
    from awa_cli.web.access import Access
    from awa_cli.web.access_file import AccessFile

__all__ = ["Settings"]

_POOL: Final = PoolLimits(most=10, least=2, idle_seconds=300, lifetime_seconds=1800)


@dataclass(frozen=True, slots=True)
class Settings:
    """What flags, environment and ``create_app`` say."""

    pool: PoolLimits = _POOL
    cache_seconds: float = 5.0
    """How old the cached answers of the API may be."""
    scrape_seconds: float = 10.0
    """How old metrics may be: several who scrape cost as much as one."""
    read_only: bool = False
    """Change nothing, whatever the database allows."""
    secret: bytes | None = field(default=None, repr=False)
    """The key of callback signatures, 32 bytes; without one callbacks are not checked."""
    strict: bool = False
    """Take only signatures of whole requests for callbacks, not those of the id alone."""
    access: Access | AccessFile | None = None
    """Who may come in, or a file that says so; without it, only requests from this machine."""
    hosts: frozenset[str] = frozenset()
    """Names this server may be called by, beside those of this machine; ``*`` for any."""
    origins: frozenset[str] = frozenset()
    """Origins whose pages may read the API from a browser (CORS)."""
    redactor: Redactor | None = None
    """What is hidden in args, metadata and progress."""
    body_bytes: int = 2 * 1024 * 1024
    """The longest body of a request."""
    event_seconds: float = 2.0
    """How often the live events look at the database, while somebody watches."""

    def who_may(self) -> Access | None:
        """Return who may come in now: the same object as long as the file does not change."""
        return self.access() if callable(self.access) else self.access
