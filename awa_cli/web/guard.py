"""The guard of every request: host, origin, identity, rate and size limits, security headers."""

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

from awa_cli.access import Access, Identity
from awa_cli.web import origins
from awa_cli.web.answers import answer
from awa_cli.web.arrival import Arrivals
from awa_cli.web.problems import Refused, problem_of
from awa_cli.web.rate_limits import Buckets, bounded
from awa_cli.web.scope import IDENTITY, PAGES, PATH, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from awa_cli.web.arrival import Arrival
    from awa_cli.web.settings import Settings

__all__ = ["Guard"]

# Paths that need no identity: probes have no credentials.
_OPEN: Final = ("/healthz", "/readyz")
# (rate per second, burst): reads of an address, changes of a caller.
_READ_LIMIT: Final = (1_000, 2_000)
_CHANGE_LIMIT: Final = (50, 200)
_REMEMBER_SECONDS: Final = 300.0
_MAX_REMEMBERED: Final = 1_000
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
    """Admit requests, or answer them; add the security headers to every answer.

    ``signed(scope)`` returns whether a request carries a signature, which is checked later.
    ``pages`` is whether the server has pages: without them no proxy needs to tell their prefix.
    ``user(scope)`` is the callable of an application that this server is mounted in: it returns
    the identity of the application's user, or None.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        *,
        signed: Callable[[Scope], bool] = lambda _: False,
        user: Callable[[Scope], Identity | None] | None = None,
        pages: bool = True,
    ) -> None:
        self._app = app
        self._settings = settings
        self._arrivals = Arrivals(settings, prefixed=pages)
        self._pages = pages
        self._signed = signed
        self._user = user
        self._reads = Buckets(*_READ_LIMIT)
        self._changes = Buckets(*_CHANGE_LIMIT)
        self._passwords = _Passwords()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived: Scope = {**scope, PATH: scope["path"], ROOT: "", PAGES: self._pages}
        started = False
        cors_origin: str | None = None

        async def out(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", ()), *_SECURITY_RAW]
                message["headers"] += _cors(cors_origin, scope)
            await send(message)

        try:
            arrival = self._arrivals.of(scope)
            arrived = self._arrivals.scope(arrived, arrival)
            headers = Headers(scope=arrived)
            if origins.check_origin(self._settings, arrival, scope["method"], headers):
                cors_origin = headers["origin"]
            if cors_origin is not None and _is_preflight(scope, headers):
                await _empty(out)
                return
            await self._admit(arrived, arrival, headers)
            limited = bounded(arrived, receive, self._settings.body_bytes)
            await self._app(arrived, limited, out)
        except Exception as error:
            refused = problem_of(error)
            if started:
                raise
            await answer(arrived, refused)(arrived, receive, out)

    async def _admit(self, scope: Scope, arrival: Arrival, headers: Headers) -> None:
        """Identify the caller of the request.  Raises Refused."""
        path = scope[PATH]
        safe = scope["method"] in origins.SAFE
        if path in _OPEN and safe:
            scope[IDENTITY] = Identity("anybody", "read", "none")
            return
        local_only = self._settings.access is None and self._user is None
        origins.check_host(self._settings, arrival, local_only=local_only)
        client = arrival.client
        if self._signed(scope):
            scope[IDENTITY] = Identity(client, "read", "signature")
            return
        who = await self._identify(scope, arrival, headers)
        scope[IDENTITY] = who
        if safe:
            self._reads.require(client, "requests")
            return
        self._changes.require(f"{client} {who.name}", "changes")
        if who.way != "token":
            origins.check_token(headers, cookie_parser(headers.get("cookie", "")))

    async def _identify(self, scope: Scope, arrival: Arrival, headers: Headers) -> Identity:
        access = self._settings.current_access()
        if self._user is not None:
            found = self._user(scope)
            if found is None:
                raise Refused(401, "you are not logged in", do="log in to the application")
            return found
        if access is None:
            if not arrival.local:
                raise Refused(
                    403,
                    "only requests from this machine are accepted",
                    "the server has no access file",
                    "start it with awa serve --auth FILE; see awa access --help",
                )
            return Identity("local", "operate", "local")
        if access.proxy is not None and access.proxy.trusts(arrival.peer):
            name = headers.get(access.proxy.header, "").strip()
            if name:
                return Identity(name[:64], access.proxy.scope, "proxy")
        self._passwords.follow(access)
        return await self._passwords.identify(headers.get("authorization", ""), arrival.client)


class _Passwords:
    """Check the Authorization header; a correct password is remembered for five minutes."""

    def __init__(self) -> None:
        self._access = Access()
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        # A check costs 50 ms of a core and 16 MB.
        self._checks = asyncio.Semaphore(2)
        self._tries = Buckets(0.2, 10)
        self._failures = Buckets(1, 20)

    def follow(self, access: Access) -> None:
        """Use these access rules from now on, and forget what the previous rules accepted."""
        if access is not self._access:
            self._access = access
            self._known.clear()

    async def identify(self, header: str, peer: str) -> Identity:
        """Return the caller.  Raises Refused (401, 429)."""
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
        digest = hashlib.blake2b(value.encode(), key=self._key).digest()
        known = self._known.get(digest)
        if known is not None and time.monotonic() - known[1] < _REMEMBER_SECONDS:
            return known[0]
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        if not colon:
            return None
        self._tries.require(f"{peer} {name[:64]}", "password attempts")
        async with self._checks:
            access = self._access
            found = await asyncio.to_thread(access.by_password, name, password)
        # If the file changed meanwhile, the answer of the old file must not be remembered.
        if found is not None and access is self._access:
            self._known[digest] = (found, time.monotonic())
            if len(self._known) > _MAX_REMEMBERED:
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
            "the credentials are not valid" if wrong else "authentication is required",
            None if wrong else "no credentials were sent",
            "log in as a user of the access file, or send a token: Authorization: Bearer TOKEN",
            {"WWW-Authenticate": ", ".join(ways)} if ways else {},
        )


def _cors(origin: str | None, scope: Scope) -> list[tuple[bytes, bytes]]:
    """Return headers that let a page of a listed origin read the answer, without credentials."""
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
