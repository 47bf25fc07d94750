"""How a request came here: directly, or as a trusted proxy tells of it.

X-Forwarded-For, -Host, -Proto and -Prefix count from trusted proxies, and are ignored from anyone
else.  Of several values the last counts, which the nearest proxy added.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers

from awa_cli.addresses import canonical, is_loopback, parse_ip, parse_networks
from awa_cli.web.place import placed
from awa_cli.web.prefix import read_prefix
from awa_cli.web.problems import Refused
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.types import Scope

    from awa_cli.addresses import Networks
    from awa_cli.web.settings import Settings

__all__ = ["Arrival", "Arrivals"]

logger = logging.getLogger(__name__)

_FOR: Final = "x-forwarded-for"
_HOST: Final = "x-forwarded-host"
_PROTO: Final = "x-forwarded-proto"
_PREFIX: Final = "x-forwarded-prefix"
_TOLD: Final = (_FOR, _HOST, _PROTO, _PREFIX)
# What a proxy that was not told otherwise may add.
_TRACES: Final = (*_TOLD, "forwarded", "x-real-ip", "x-forwarded-server", "via")


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a request came here."""

    peer: str
    """The address that the connection comes from."""
    client: str
    """The address of the client, which may be behind trusted proxies."""
    host: str
    """The host that the client asked for."""
    scheme: str | None
    """The scheme that the client used, if a trusted proxy tells."""
    sent_host: str
    """The Host header, which a proxy may have replaced."""
    told_host: str
    """X-Forwarded-Host, from whomever."""
    proxied: bool
    """Whether a header, from whomever, says that a proxy is between."""
    trusted: bool
    """Whether the connection comes from a trusted proxy."""

    @property
    def local(self) -> bool:
        """Whether the client is on this machine."""
        return is_loopback(self.peer) and is_loopback(self.client)


class Arrivals:
    """Find out how requests came here.

    ``prefixed`` is whether a proxy may tell the prefix of this server.
    """

    def __init__(self, settings: Settings, *, prefixed: bool) -> None:
        self._settings = settings
        self._proxies = parse_networks(settings.trusted_proxies)
        self._prefixed = prefixed
        self._warned = False

    def of(self, scope: Scope) -> Arrival:
        """Return how a request came here."""
        headers = Headers(scope=scope)
        peer = _peer(scope)
        proxies = self._trusted()
        trusted = _in(peer, proxies)
        told = _last(headers, _HOST)
        sent = headers.get("host", "")
        scheme = _last(headers, _PROTO).lower()
        if self._prefixed and not trusted:
            self._warn(headers, peer)
        return Arrival(
            peer=peer,
            client=_client(headers, proxies) or peer if trusted else peer,
            host=told if trusted and told else sent,
            scheme=scheme if trusted and scheme in {"http", "https"} else None,
            sent_host=sent,
            told_host=told,
            proxied=any(name in headers for name in _TRACES),
            trusted=trusted,
        )

    def scope(self, scope: Scope, arrival: Arrival) -> Scope:
        """Return the scope as the client sees it: path, scheme and host.  Raises Refused."""
        found = placed(scope, self._prefix(scope, arrival))
        if arrival.scheme is not None:
            found["scheme"] = arrival.scheme
        if arrival.host != arrival.sent_host:
            others = [pair for pair in scope["headers"] if pair[0] != b"host"]
            found["headers"] = [(b"host", arrival.host.encode("latin-1")), *others]
        return found

    def _prefix(self, scope: Scope, arrival: Arrival) -> str:
        if self._settings.path_prefix or not (arrival.trusted and self._prefixed):
            return self._settings.path_prefix
        text = ", ".join(Headers(scope=scope).getlist(_PREFIX)).strip()
        try:
            return read_prefix(text, "the header X-Forwarded-Prefix")
        except InvalidInput as error:
            raise Refused(421, str(error), error.why, error.hint) from None

    def _trusted(self) -> Networks:
        access = self._settings.current_access()
        named = access.proxy.networks if access is not None and access.proxy is not None else ()
        return self._proxies + named

    def _warn(self, headers: Headers, peer: str) -> None:
        """Log once that what a proxy tells is ignored."""
        ignored = [name for name in _TOLD if name in headers]
        if ignored and not self._warned:
            self._warned = True
            logger.warning(
                "ignored %s from %s, which is not a trusted proxy; if it is yours: "
                "awa serve --trusted-proxy %s",
                " and ".join(name.title() for name in ignored),
                peer,
                peer,
            )


def _peer(scope: Scope) -> str:
    """Return the address of the peer; that of a Unix socket has none and counts as local."""
    client = scope.get("client")
    return canonical(str(client[0])) if client and client[0] else "127.0.0.1"


def _in(address: str, networks: Networks) -> bool:
    found = parse_ip(address)
    return found is not None and any(found in network for network in networks)


def _client(headers: Headers, proxies: Networks) -> str:
    """Return the nearest address that is not a trusted proxy; empty if no proxy tells.

    Each proxy adds the address that it was called from; what was there before may be invented.
    """
    found = ""
    for text in reversed(",".join(headers.getlist(_FOR)).split(",")):
        if not text.strip():
            continue
        found = _address(text.strip())
        if not _in(found, proxies):
            break
    return found


def _address(text: str) -> str:
    """Return an address without the port that some proxies add; ``unknown`` for another text."""
    for one in (text, text.rpartition(":")[0]):
        if (found := parse_ip(one)) is not None:
            return str(found)
    return "unknown"


def _last(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()
