"""Who may make a browser send requests here: names of this server, origins, the page's token.

A page of another site can make a browser send requests with the user's credentials, or have its own
name lead to this machine (DNS rebinding).  A change from a browser must come from a page of ours:
the browser says so in Sec-Fetch-Site and Origin, and the page sends the token that it was given
beside a cookie of the same value, which pages of others cannot read.
"""

from __future__ import annotations

import hmac
import re
import secrets
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from awa_cli.web.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from awa_cli.web.settings import Settings

__all__ = [
    "COOKIE",
    "SAFE",
    "TOKEN_HEADER",
    "check_host",
    "check_origin",
    "check_token",
    "is_csrf",
    "is_loopback",
    "new_csrf",
]

COOKIE: Final = "awa_csrf"
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105 - its name, not its value
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# A name or an IPv4 address, or an IPv6 address in brackets; a port may follow.
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
# A browser sends at least one of these with a change; programs send none.
_BROWSER: Final = ("origin", "sec-fetch-site", "cookie", "referer")


def new_csrf() -> str:
    """Return a token for a cookie and the page beside it."""
    return secrets.token_urlsafe(32)


def is_csrf(token: str) -> bool:
    """Return whether a text can be one of our tokens."""
    return _TOKEN.fullmatch(token) is not None


def check_host(settings: Settings, headers: Mapping[str, str]) -> None:
    """Refuse a request that was sent to another name.  Raises Refused (421)."""
    if "*" in settings.hosts or (settings.access is not None and not settings.hosts):
        # Who has to log in is not let in by a browser that was led astray: it has no password.
        return
    name = _name(headers.get("host", ""))
    if name not in settings.hosts and not is_loopback(name):
        raise Refused(
            421,
            "this server is not called by that name",
            f"the Host header says {name[:100]!r}",
            "use http://127.0.0.1, or start it with --allowed-host NAME",
        )


def _name(host: str) -> str:
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def is_loopback(name: str) -> bool:
    """Return whether a name or an address is this machine's own."""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def check_origin(settings: Settings, scope: Scope, headers: Mapping[str, str]) -> bool:
    """Refuse a change that a page of another site sends.  Raises Refused (403).

    Returns whether a page of a listed origin sends the request (CORS).
    """
    origin = headers.get("origin")
    if origin is not None and origin in settings.origins:
        return True
    if scope["method"] in SAFE:
        return False
    site = headers.get("sec-fetch-site")
    if site not in {None, "same-origin"} or (origin is not None and not _same(origin, headers)):
        raise Refused(
            403,
            "a page of another site must not change anything here",
            f"the browser says that the request comes from {(origin or str(site))[:100]!r}",
            "use the pages of this server, or a program with a token",
        )
    return False


def _same(origin: str, headers: Mapping[str, str]) -> bool:
    """Compare with the name this server was called by; TLS may end before us."""
    parts = urlsplit(origin)
    return parts.scheme in {"http", "https"} and parts.netloc == headers.get("host")


def check_token(headers: Mapping[str, str], cookies: Mapping[str, str]) -> None:
    """Refuse a change from a browser without the token of a page of ours.  Raises Refused (403)."""
    if not any(name in headers for name in _BROWSER):
        return
    kept, sent = cookies.get(COOKIE, ""), headers.get(TOKEN_HEADER, "")
    right = hmac.compare_digest(kept.encode(), sent.encode())
    if not (is_csrf(kept) and right):
        raise Refused(
            403,
            "the request does not carry the token of a page of this server",
            f"cookie {COOKIE} and header X-CSRF-Token are missing or differ",
            "reload the page and try again",
        )
