"""Names and addresses of hosts: one form for each, however it is written.

This machine has many names: ``localhost``, ``LOCALHOST.``, ``127.0.0.1``, ``[::1]``, and
``::ffff:127.0.0.1`` where an IPv6 socket takes an IPv4 connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "Host",
    "Networks",
    "bracketed",
    "canonical",
    "is_loopback",
    "parse_host",
    "parse_ip",
    "parse_networks",
    "parse_origin",
]

Networks = tuple[IPv4Network | IPv6Network, ...]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_MAX_PORT: Final = 65_535
_LOOPBACK: Final[Networks] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
# A name or an IPv4 address, or an IPv6 address in brackets; a port may follow.
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class Host:
    """A host, by its name in canonical form, and the port, if one was given."""

    name: str
    port: int | None = None

    def at(self, scheme: str) -> Host:
        """Return the host with its port, which is that of the scheme if none was given."""
        return Host(self.name, self.port or _DEFAULT_PORTS.get(scheme))

    def origin(self, scheme: str) -> str:
        """Return the origin as browsers write it, without the default port of the scheme."""
        default = self.port in {None, _DEFAULT_PORTS.get(scheme)}
        return f"{scheme}://{bracketed(self.name)}" + ("" if default else f":{self.port}")


def parse_ip(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address, with or without brackets; None for another text.

    An IPv4 address in its IPv6 form is returned as IPv4; the zone of an address is dropped.
    """
    if text[:1] == "[" and text[-1:] == "]":
        text = text[1:-1]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv4Address):
        return found
    return found.ipv4_mapped or IPv6Address(int(found))


def canonical(name: str) -> str:
    """Return a name or an address in the form in which equal ones are equal."""
    name = name.lower().removesuffix(".")
    found = parse_ip(name)
    return name if found is None else str(found)


def is_loopback(name: str) -> bool:
    """Return whether a name or an address is a loopback of this machine."""
    name = canonical(name)
    found = parse_ip(name)
    return name == "localhost" if found is None else found.is_loopback


def bracketed(host: str) -> str:
    """Return a host as URLs have it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def parse_host(text: str) -> Host | None:
    """Parse ``NAME`` or ``NAME:PORT``, as a Host header has it; None for another text."""
    found = _HOST.fullmatch(text)
    if found is None or (found[1][0] == "[" and parse_ip(found[1]) is None):
        return None
    port = int(found[2]) if found[2] else None
    if port is not None and not 0 < port <= _MAX_PORT:
        return None
    return Host(canonical(found[1]), port)


def parse_origin(text: str) -> tuple[str, Host] | None:
    """Return (scheme, host with its port) of an origin of the web; None for another text."""
    scheme, _, authority = text.partition("://")
    scheme, host = scheme.lower(), parse_host(authority)
    if scheme not in _DEFAULT_PORTS or host is None:
        return None
    return scheme, host.at(scheme)


def parse_networks(texts: Iterable[object]) -> Networks:
    """Return the networks of addresses, networks and ``localhost``.  Raises InvalidInput.

    Any loopback address stands for this machine, that is for all of them.
    """
    return tuple(network for text in texts for network in _networks(text))


def _networks(text: object) -> Networks:
    if not isinstance(text, str):
        raise InvalidInput(f"{text!r} is not a text")
    if is_loopback(text):
        return _LOOPBACK
    found = parse_ip(text)
    try:
        network = ip_network(text if found is None else str(found))
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is not an address or a network",
            why=str(error) if "host bits" in str(error) else None,
            hint="write it like 10.0.0.5, 10.0.0.0/24, fd00::/64 or localhost",
        ) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        address = network.network_address.ipv4_mapped
        assert address is not None
        return (IPv4Network((address, network.prefixlen - _MAPPED.prefixlen)),)
    return (network,)
