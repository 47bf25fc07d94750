"""Checks against cross-site requests: host names, origins, and the CSRF token of a page.

A page of another site can make a browser send requests with the user's credentials (CSRF), or point
its own host name at this machine (DNS rebinding).  A change from a browser must come from a page of
this server: the headers Sec-Fetch-Site and Origin say so, and the page sends a token that equals a
cookie, which other sites cannot read.
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
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105 - the name of a header
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# A name or an IPv4 address, or an IPv6 address in brackets; a port may follow.
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
# A browser sends at least one of these headers with a change; programs send none.
_BROWSER_HEADERS: Final = ("origin", "sec-fetch-site", "cookie", "referer")


def new_csrf() -> str:
    """Return a token for a page and its cookie."""
    return secrets.token_urlsafe(32)


def is_csrf(token: str) -> bool:
    """Return whether a text has the form of a token."""
    return _TOKEN.fullmatch(token) is not None


def check_host(settings: Settings, headers: Mapping[str, str]) -> None:
    """Raise Refused (421) if the Host header names another server."""
    if "*" in settings.hosts or (settings.access is not None and not settings.hosts):
        # Where callers log in, DNS rebinding gains nothing: the browser has no password to send.
        return
    name = _name(headers.get("host", ""))
    if name not in settings.hosts and not is_loopback(name):
        raise Refused(
            421,
            "the host name is not allowed",
            f"the Host header is {name[:100]!r}",
            "use http://127.0.0.1, or start awa serve with --allowed-host NAME",
        )


def _name(host: str) -> str:
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def is_loopback(name: str) -> bool:
    """Return whether a name or an address is a loopback of this machine."""
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def check_origin(settings: Settings, scope: Scope, headers: Mapping[str, str]) -> bool:
    """Raise Refused (403) for a change sent by a page of another site.

    Return whether a page of a listed origin sends the request (CORS).
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
            "changes from pages of other sites are not allowed",
            f"the request comes from {(origin or str(site))[:100]!r}",
            "use the pages of this server, or a program with a token",
        )
    return False


def _same(origin: str, headers: Mapping[str, str]) -> bool:
    """Compare with the Host header; the schemes may differ, since a proxy may terminate TLS."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # brackets that hold no address
        return False
    return parts.scheme in {"http", "https"} and parts.netloc == headers.get("host")


def check_token(headers: Mapping[str, str], cookies: Mapping[str, str]) -> None:
    """Raise Refused (403) for a change from a browser without the token of a page."""
    if not any(name in headers for name in _BROWSER_HEADERS):
        return
    cookie, sent = cookies.get(COOKIE, ""), headers.get(TOKEN_HEADER, "")
    equal = hmac.compare_digest(cookie.encode(), sent.encode())
    if not (is_csrf(cookie) and equal):
        raise Refused(
            403,
            "the CSRF token is missing or wrong",
            f"cookie {COOKIE} and header X-CSRF-Token are missing or differ",
            "reload the page and try again",
        )
