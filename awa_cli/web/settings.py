"""The settings of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from awa_cli.addresses import canonical, parse_networks
from awa_cli.web.prefix import read_prefix
from awa_lib.db.pool import PoolLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from awa_cli.access import Access
    from awa_cli.redact import Redactor
    from awa_cli.web.access_file import AccessFile

__all__ = ["Settings"]

_POOL: Final = PoolLimits(most=10, least=2, idle_seconds=300, lifetime_seconds=1800)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a server, from options, environment or ``create_app``."""

    pool: PoolLimits = _POOL
    cache_seconds: float = 5.0
    """Age limit of the API's cached answers."""
    scrape_seconds: float = 10.0
    """Age limit of metrics: several scrapers cost as much as a single one."""
    read_only: bool = False
    """Refuse every change, whatever the database allows."""
    secret: bytes | None = field(default=None, repr=False)
    """The key of callback signatures, 32 bytes.  None: signatures are not checked."""
    verify: Callable[[bytes, Mapping[str, str]], Any] | None = field(default=None, repr=False)
    """Checks raw callbacks: takes body and headers, returns True or an awaitable of it."""
    strict: bool = False
    """Accept callbacks only with a signature of the whole request, not of the id."""
    access: Access | AccessFile | None = None
    """Users, tokens and proxy.  None: only requests from this machine are accepted."""
    hosts: frozenset[str] = frozenset()
    """Accepted host names, in addition to those of this machine; ``*`` accepts any."""
    path_prefix: str = ""
    """The path below which a proxy serves this server, whether or not the proxy removes it."""
    trusted_proxies: frozenset[str] = frozenset()
    """Addresses and networks of proxies whose X-Forwarded-* headers count."""
    origins: frozenset[str] = frozenset()
    """Origins whose pages may use the API from a browser (CORS)."""
    redactor: Redactor | None = None
    """Hides values in args, metadata and progress."""
    body_bytes: int = 2 * 1024 * 1024
    """Size limit of a request's body."""
    event_seconds: float = 2.0
    """Interval at which live events read the database, while they have subscribers."""

    def __post_init__(self) -> None:
        """Bring names and prefix into one form.  Raises InvalidInput."""
        parse_networks(self.trusted_proxies)
        prefix = read_prefix(self.path_prefix, "path_prefix")
        for name, value in (
            ("hosts", frozenset(map(canonical, self.hosts))),
            ("path_prefix", prefix),
        ):
            object.__setattr__(self, name, value)

    def checks_callbacks(self, *, raw: bool) -> bool:
        """Return whether callbacks are checked by a signature, and not by who sends them."""
        return self.secret is not None or (raw and self.verify is not None)

    def current_access(self) -> Access | None:
        """Return the present access rules: the same object until the file changes."""
        return self.access() if callable(self.access) else self.access
