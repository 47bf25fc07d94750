"""The access file: users with passwords, programs with tokens, and a trusted proxy.

The file is TOML and holds hashes, no secrets.  ``awa access`` writes it::

    [users.alice]
    password = "scrypt:16384:8:1:SALT:HASH"
    scope = "operate"

    [tokens.deploy]
    sha256 = "HASH"
    scope = "read"

    [proxy]
    header = "X-Forwarded-User"
    from = ["10.0.0.5/32"]
    scope = "operate"
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from awa_cli.addresses import parse_ip, parse_networks
from awa_cli.input import decoded, parse_toml
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from awa_cli.addresses import Networks

__all__ = [
    "NAME",
    "SCOPES",
    "Access",
    "Identity",
    "Proxy",
    "hash_password",
    "hash_token",
    "new_token",
    "parse_access",
    "read_access",
]

SCOPES: Final = ("read", "operate")
NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_N, _R, _P = 2**14, 8, 1
_MAX_SCRYPT_MEMORY: Final = 64 * 1024 * 1024
_PASSWORD: Final = re.compile(r"scrypt:(\d{1,7}):(\d{1,2}):(\d{1,2}):([0-9a-f]{32}):([0-9a-f]{64})")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_GROUP_OR_OTHERS_WRITE: Final = 0o022


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller of a request.

    ``way`` says how the caller was identified: local, password, token, proxy, app, signature, none.
    """

    name: str
    scope: str
    way: str

    @property
    def may_operate(self) -> bool:
        """Return whether changes are allowed."""
        return self.scope == "operate"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that authenticates its users and names them in a header."""

    header: str
    networks: Networks
    scope: str

    def trusts(self, peer: str) -> bool:
        """Return whether requests from this address come from the proxy."""
        address = parse_ip(peer)
        return address is not None and any(address in network for network in self.networks)


@dataclass(frozen=True, slots=True)
class Access:
    """The contents of an access file."""

    users: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(hash, scope) by name."""
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)
    """(name, scope) by hash."""
    proxy: Proxy | None = None

    def by_token(self, token: str) -> Identity | None:
        """Return the owner of a token.  The look-up is by hash, so its timing reveals no token."""
        found = self.tokens.get(hash_token(token))
        return None if found is None else Identity(found[0], found[1], "token")

    def by_password(self, name: str, password: str) -> Identity | None:
        """Return the user if the password is right; takes 50 ms either way."""
        stored, scope = self.users.get(name, (_UNKNOWN_USER, "read"))
        matches = _verify(stored, password)
        return Identity(name, scope, "password") if matches and name in self.users else None


def read_access(path: Path) -> Access:
    """Read an access file that admits at least one caller.

    Raises InvalidInput, whose text holds no value of the file.
    """
    access = parse_access(path)
    if not (access.users or access.tokens or access.proxy):
        raise _bad(path, "it admits nobody", "add a user: awa access user NAME")
    return access


def parse_access(path: Path) -> Access:
    """Read an access file, which may be empty.

    Raises InvalidInput, whose text holds no value of the file.
    """
    try:
        if path.stat().st_mode & _GROUP_OR_OTHERS_WRITE:
            raise _bad(path, "others may write to it", f"chmod 600 {path}")
        found = parse_toml(decoded(path.read_bytes()))
    except (OSError, ValueError) as error:
        why = str(getattr(error, "strerror", None) or error).lower()
        raise _bad(path, why) from None
    for key in found:
        if key not in {"users", "tokens", "proxy"}:
            raise _bad(path, f"{key!r} is not users, tokens or proxy")
    users = {
        name: (_text(path, f"users.{name}", one, "password", _PASSWORD), _scope(path, name, one))
        for name, one in _tables(path, found, "users").items()
    }
    tokens = {
        _text(path, f"tokens.{name}", one, "sha256", _SHA256): (name, _scope(path, name, one))
        for name, one in _tables(path, found, "tokens").items()
    }
    proxy = _proxy(path, found["proxy"]) if "proxy" in found else None
    return Access(users, tokens, proxy)


def _tables(path: Path, found: dict[str, Any], key: str) -> dict[str, dict[str, Any]]:
    tables = found.get(key, {})
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise _bad(path, f"{key} must be tables, like [{key}.NAME]")
    for name in tables:
        if not NAME.fullmatch(name):
            raise _bad(path, f"{key}.{name!r} is not a name: use letters, digits and _ . @ -")
    return tables


def _text(path: Path, where: str, table: dict[str, Any], key: str, form: re.Pattern[str]) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not form.fullmatch(value):
        raise _bad(path, f"{where}.{key} is not a hash made by awa access")
    if unknown := set(table) - {key, "scope"}:
        raise _bad(path, f"{where} has an unknown key {min(unknown)!r}")
    return value


def _scope(path: Path, where: str, table: dict[str, Any]) -> str:
    scope = table.get("scope")
    if scope not in SCOPES:
        raise _bad(path, f"the scope of {where} must be read or operate")
    return str(scope)


def _proxy(path: Path, table: Any) -> Proxy:
    if not isinstance(table, dict) or set(table) != {"header", "from", "scope"}:
        raise _bad(path, "proxy must have header, from and scope, and nothing else")
    if not isinstance(table["header"], str) or not re.fullmatch(r"[A-Za-z0-9-]+", table["header"]):
        raise _bad(path, "proxy.header must be a header name")
    texts = table["from"] if isinstance(table["from"], list) else []
    try:
        networks = parse_networks(texts)
    except InvalidInput:  # its text has the value
        networks = ()
    if not networks:
        raise _bad(path, 'proxy.from must list addresses, like ["10.0.0.5", "10.0.0.0/24"]')
    return Proxy(table["header"].lower(), networks, _scope(path, "the proxy", table))


def _bad(path: Path, why: str, hint: str = "see awa access --help") -> InvalidInput:
    return InvalidInput(f"the access file {path} cannot be used", why=why, hint=hint)


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Return the hash of a password for the file; takes 50 ms and 16 MB."""
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"scrypt:{_N}:{_R}:{_P}:{salt.hex()}:{_scrypt(password, salt, _N, _R, _P).hex()}"


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    secret = password.encode(errors="surrogatepass")
    return hashlib.scrypt(secret, salt=salt, n=n, r=r, p=p, maxmem=_MAX_SCRYPT_MEMORY, dklen=32)


def _verify(stored: str, password: str) -> bool:
    found = _PASSWORD.fullmatch(stored)
    assert found is not None
    n, r, p = map(int, found.groups()[:3])
    try:
        made = _scrypt(password, bytes.fromhex(found[4]), n, r, p)
    except ValueError:  # its parameters exceed the memory limit
        return False
    return hmac.compare_digest(made, bytes.fromhex(found[5]))


# Compared for an unknown name, so that it takes as long as a known name.
_UNKNOWN_USER: Final = f"scrypt:{_N}:{_R}:{_P}:{'0' * 32}:{'0' * 64}"


def new_token() -> str:
    """Return a token of 256 random bits."""
    return "awa_" + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """Return the hash of a token for the file; SHA-256 is enough for 256 random bits."""
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
