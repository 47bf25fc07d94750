"""The one door: who comes in, from where, how often, with how much."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from awa_cli.web import origins
from awa_cli.web.access import Access, Identity
from awa_cli.web.answers import answer
from awa_cli.web.problems import Refused, problem_of
from awa_cli.web.rate_limits import Buckets, bounded
from awa_cli.web.scope import IDENTITY, PATH

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from awa_cli.web.settings import Settings

__all__ = ["Guard"]

# Whoever asks: probes have no credentials.
_OPEN: Final = ("/healthz", "/readyz")
# A second, and at once: of one address, and of one caller.
_READS: Final = (1_000, 2_000)
_CHANGES: Final = (50, 200)
_REMEMBER_SECONDS: Final = 300.0
_MOST_REMEMBERED: Final = 1_000
_SECURITY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_SECURITY_RAW: Final = [(k.lower().encode(), v.encode()) for k, v in _SECURITY.items()]


class Guard:
    """Lets requests in, or answers them itself; adds the security headers to every answer.

    ``signed`` says of a path that its requests carry a proof of their own.
    ``whose`` is given the scope by an application that this server is mounted in, and returns who
    its user is, or None.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        signed: Callable[[str], bool] = lambda _: False,
        whose: Callable[[Scope], Identity | None] | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._signed = signed
        self._whose = whose
        self._reads = Buckets(*_READS)
        self._changes = Buckets(*_CHANGES)
        self._passwords = _Passwords()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Routing below adds mount points to root_path.
        scope[PATH] = scope["path"].removeprefix(scope.get("root_path", ""))
        headers = Headers(scope=scope)
        started = False
        listed: str | None = None

        async def out(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_SECURITY_RAW]
                message["headers"] += _cors(listed, scope)
            await send(message)

        try:
            if origins.check_origin(self._settings, scope, headers):
                listed = headers["origin"]
            if listed is not None and _is_preflight(scope, headers):
                await _empty(out)
                return
            await self._admit(scope, headers)
            limited = bounded(scope, receive, self._settings.body_bytes)
            await self._app(scope, limited, out)
        except Exception as error:
            refused = problem_of(error)
            if started:
                raise
            await answer(scope, refused)(scope, receive, out)

    async def _admit(self, scope: Scope, headers: Headers) -> None:
        """Find out who sends the request.  Raises Refused."""
        path = scope[PATH]
        safe = scope["method"] in origins.SAFE
        if path in _OPEN and safe:
            scope[IDENTITY] = Identity("anybody", "read", "none")
            return
        origins.check_host(self._settings, headers)
        peer = _peer(scope)
        if self._signed(path):
            scope[IDENTITY] = Identity(peer, "read", "signature")
            return
        who = await self._identify(scope, headers, peer)
        scope[IDENTITY] = who
        if safe:
            self._reads.require(peer, "requests")
            return
        self._changes.require(f"{peer} {who.name}", "changes")
        if who.way != "token":
            origins.check_token(headers, cookie_parser(headers.get("cookie", "")))

    async def _identify(self, scope: Scope, headers: Headers, peer: str) -> Identity:
        access = self._settings.who_may()
        if self._whose is not None:
            found = self._whose(scope)
            if found is None:
                raise Refused(401, "nobody is logged in", do="log in to the application")
            return found
        if access is None:
            if not origins.is_loopback(peer):
                raise Refused(
                    403,
                    "only requests from this machine are taken",
                    "nothing says who else may come in",
                    "start it with --auth FILE; see awa access --help",
                )
            return Identity("local", "operate", "local")
        if access.proxy is not None and access.proxy.trusts(peer):
            name = headers.get(access.proxy.header, "").strip()
            if name:
                return Identity(name[:64], access.proxy.scope, "proxy")
        self._passwords.follow(access)
        return await self._passwords.identify(headers.get("authorization", ""), peer)


class _Passwords:
    """Checks the Authorization header; what was right is remembered for five minutes."""

    def __init__(self) -> None:
        self._access = Access()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        # One costs 50 ms of a core and 16 MB.
        self._turns = asyncio.Semaphore(2)
        self._tries = Buckets(0.2, 10)
        self._failures = Buckets(1, 20)

    def follow(self, access: Access) -> None:
        """Check by this from now on; what was right before need not be so any more."""
        if access is not self._access:
            self._access = access
            self._known.clear()

    async def identify(self, header: str, peer: str) -> Identity:
        """Return who it is.  Raises Refused (401, 429)."""
        way, _, value = header.partition(" ")
        value = value.strip()
        found = None
        if way.lower() == "bearer":
            found = self._access.by_token(value)
        elif way.lower() == "basic":
            found = await self._by_password(value, peer)
        if found is None:
            if header:
                self._failures.require(peer, "wrong credentials")
            raise self._refusal(wrong=bool(header))
        return found

    async def _by_password(self, value: str, peer: str) -> Identity | None:
        seen = hashlib.blake2b(value.encode(), key=self._key).digest()
        known = self._known.get(seen)
        if known is not None and time.monotonic() - known[1] < _REMEMBER_SECONDS:
            return known[0]
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if not colon:
            return None
        self._tries.require(f"{peer} {name[:64]}", "tries of a password")
        async with self._turns:
            access = self._access
            found = await asyncio.to_thread(access.by_password, name, password)
        # The file may have changed meanwhile: what it said is not to be remembered.
        if found is not None and access is self._access:
            self._known[seen] = (found, time.monotonic())
            if len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return found

    def _refusal(self, *, wrong: bool) -> Refused:
        ways = []
        if self._access.users:
            ways.append('Basic realm="awa", charset="UTF-8"')
        if self._access.tokens:
            ways.append('Bearer realm="awa"')
        return Refused(
            401,
            "these credentials are not known" if wrong else "this server wants to know who you are",
            None if wrong else "no credentials were sent",
            "log in as a user of its access file, or send a token: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": ", ".join(ways)} if ways else {},
        )


def _peer(scope: Scope) -> str:
    """Return the address of who is connected; a local socket has none."""
    client = scope.get("client")
    return str(client[0]) if client and client[0] else "127.0.0.1"


def _cors(origin: str | None, scope: Scope) -> list[tuple[bytes, bytes]]:
    """Let a page of a listed origin read the answer; credentials of the browser are not taken."""
    if origin is None:
        return []
    headers: dict[str, Any] = {"access-control-allow-origin": origin, "vary": "Origin"}
    if scope["method"] == "OPTIONS":
        headers["access-control-allow-methods"] = "GET, POST"
        headers["access-control-allow-headers"] = "Authorization, Content-Type"
        headers["access-control-max-age"] = "600"
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


async def _empty(send: Send) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
