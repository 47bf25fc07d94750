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
from typing import TYPE_CHECKING, Final

from awa_cli.addresses import Host, is_loopback, parse_host, parse_origin
from awa_cli.web.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_cli.web.arrival import Arrival
    from awa_cli.web.settings import Settings

__all__ = [
    "COOKIE",
    "SAFE",
    "TOKEN_HEADER",
    "check_host",
    "check_origin",
    "check_token",
    "is_csrf",
    "new_csrf",
]

COOKIE: Final = "awa_csrf"
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105 - the name of a header
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# A browser sends at least one of these headers with a change; programs send none.
_BROWSER_HEADERS: Final = ("origin", "sec-fetch-site", "cookie", "referer")
_HOST_ON: Final = "the proxy must pass Host; in nginx: proxy_set_header Host $http_host;"
_SCHEME_ON: Final = (
    "the proxy must tell the scheme; in nginx: proxy_set_header X-Forwarded-Proto $scheme;"
)


def new_csrf() -> str:
    """Return a token for a page and its cookie."""
    return secrets.token_urlsafe(32)


def is_csrf(token: str) -> bool:
    """Return whether a text has the form of a token."""
    return _TOKEN.fullmatch(token) is not None


def check_host(settings: Settings, arrival: Arrival, *, local_only: bool) -> None:
    """Raise Refused (421) if the client asked for the name of another server.

    ``local_only`` is whether everybody on this machine may do everything.
    """
    if "*" in settings.hosts or (settings.access is not None and not settings.hosts):
        # Where callers log in, DNS rebinding gains nothing: the browser has no password to send.
        return
    asked = [arrival.host]
    if local_only:
        # A page of a rebound name can send X-Forwarded-Host, but cannot choose Host.
        asked.append(arrival.sent_host)
    for text in asked:
        if not _is_own(settings, text):
            raise _wrong_host(settings, arrival, text)


def _is_own(settings: Settings, text: str) -> bool:
    host = parse_host(text)
    return host is not None and (host.name in settings.hosts or is_loopback(host.name))


def _wrong_host(settings: Settings, arrival: Arrival, text: str) -> Refused:
    why = f"the Host header is {text[:100]!r}"
    host = parse_host(text)
    allow = f"start awa serve with --allowed-host {host.name[:100] if host else 'NAME'}"
    if text == arrival.sent_host and arrival.told_host not in {"", text}:
        what = f"{why}, and the proxy was asked for {arrival.told_host[:100]!r}"
        trust = "" if arrival.trusted else f", or start awa serve with {_trust(arrival)}"
        if _is_own(settings, arrival.told_host):
            return Refused(
                421, "the proxy does not pass the Host header on", what, _HOST_ON + trust
            )
    if text != arrival.sent_host:
        why = f"X-Forwarded-Host is {text[:100]!r}"
    if arrival.proxied:
        do = f"if it is a name of this server, {allow}; else {_HOST_ON}"
    else:
        do = f"use http://127.0.0.1, or {allow}; behind a proxy, {_HOST_ON}"
    return Refused(421, "the host name is not allowed", why, do)


def _trust(arrival: Arrival) -> str:
    return f"--trusted-proxy {arrival.peer}"


def check_origin(
    settings: Settings, arrival: Arrival, method: str, headers: Mapping[str, str]
) -> bool:
    """Raise Refused (403) for a change sent by a page of another site.

    Return whether a page of a listed origin sends the request (CORS).
    """
    origin = headers.get("origin")
    if origin is not None and origin in settings.origins:
        return True
    if method in SAFE:
        return False
    site = headers.get("sec-fetch-site")
    page = None if origin is None else parse_origin(origin)
    if site not in {None, "same-origin"} or (origin is not None and page is None):
        raise _other_site(f"the request comes from {(origin or str(site))[:100]!r}")
    if page is not None:
        _check_page(settings, arrival, page, f"the page is at {str(origin)[:100]!r}", site)
    return False


def _check_page(
    settings: Settings, arrival: Arrival, page: tuple[str, Host], where: str, site: str | None
) -> None:
    """Raise Refused (403) if a page is not at the address that the client asked for.

    The schemes may differ unless a trusted proxy tells the scheme: a proxy may terminate TLS.
    """
    scheme, own = page
    asked = parse_host(arrival.host)
    if arrival.scheme not in {None, scheme}:
        raise Refused(
            403,
            "the proxy tells another scheme than that of the page",
            f"{where}, and X-Forwarded-Proto is {arrival.scheme!r}",
            _SCHEME_ON,
        )
    if asked is not None and asked.at(scheme) == own:
        return
    why = f"{where}, and the Host header is {arrival.host[:100]!r}"
    # The browser says that the page is ours, or only the port is lost, as by $host of nginx:
    # something between changed Host.  Else a name that the server was started with shows that Host
    # is passed on.
    lost = asked is not None and asked == Host(own.name)
    same = site == "same-origin" or lost
    named = asked is not None and asked.name in settings.hosts
    if same or (arrival.proxied and not named):
        trust = ""
        if not arrival.trusted and arrival.told_host not in {"", arrival.host}:
            trust = f", or start awa serve with {_trust(arrival)}"
        raise Refused(403, "the proxy does not pass the Host header on", why, _HOST_ON + trust)
    raise _other_site(why, "" if named else f"; if this is its page, {_HOST_ON}")


def _other_site(why: str, more: str = "") -> Refused:
    return Refused(
        403,
        "changes from pages of other sites are not allowed",
        why,
        f"use the pages of this server, or a program with a token{more}",
    )


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
