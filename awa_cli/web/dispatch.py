"""Dispatch a request of the API to its endpoint, and encode the result."""

from __future__ import annotations

import json
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from awa_cli.documents.encoding import encode
from awa_cli.web.bodies import raw_of, read_body, read_raw
from awa_cli.web.endpoints import path_parts
from awa_cli.web.json_schema import from_text, unknown
from awa_cli.web.problems import Refused
from awa_cli.web.query_string import query_pairs
from awa_cli.web.scope import PATH, identity_of, root_of
from awa_cli.web.signing import SignatureCheck
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from awa_cli.web.endpoints import Endpoint, Table
    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["Api", "dumps"]

_JSON: Final = "application/json"
# Where a page of rows goes on: parameters, and the members of the last row that they take.
_PLACES: Final = {
    "before_id": "id",
    "after": "number",
    "after_parent": "parent",
    "after_child": "child",
}
_LIST_ENDPOINTS: Final = "list the endpoints: GET /api/openapi.json"
dumps: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, allow_nan=False, check_circular=False
).encode


class Api:
    """The endpoints of a table as an ASGI application.

    ``below`` is prepended to the path of a request, for an application that mounts only a part of
    the table.
    """

    def __init__(self, state: State, table: Table, *, below: tuple[str, ...] = ()) -> None:
        self._state = state
        self._table = table
        self._below = list(below)
        self._signatures = SignatureCheck(state.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request.  Raises Refused and AwaError, which the guard answers."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        parts = self._below + path_parts(scope)
        by_method = self._table.find(parts)
        if not by_method:
            raise Refused(
                404,
                "there is nothing at this path",
                None,
                _LIST_ENDPOINTS,
            )
        allowed = ", ".join(sorted({*by_method, *(["HEAD"] if "GET" in by_method else [])}))
        endpoint = by_method.get(method)
        if endpoint is None:
            raise Refused(
                405,
                f"this path does not accept {method}",
                f"it accepts {allowed}",
                _LIST_ENDPOINTS,
                {"Allow": allowed},
            )
        response = await self._answer(endpoint, parts, Request(scope, receive))
        await response(scope, receive, send)

    async def _answer(self, endpoint: Endpoint, parts: list[str], request: Request) -> Response:
        given: dict[str, Any] = {}
        for part, name in zip(parts, endpoint.segments, strict=True):
            if name.startswith("{"):
                given[name[1:-1]] = from_text(endpoint.path_schemas[name[1:-1]], [part], name[1:-1])
        if endpoint.method == "GET":
            given |= _query(endpoint, request)
            content = await self._read(endpoint, given, request)
        else:
            content = await self._change(endpoint, given, request)
        headers = {"Cache-Control": "no-store"}
        if (link := _next_link(endpoint, given, content, request)) is not None:
            headers["Link"] = link
        return Response(content[0], media_type=_JSON, headers=headers)

    async def _read(
        self, endpoint: Endpoint, given: dict[str, Any], request: Request
    ) -> tuple[bytes, Any]:
        async def make() -> tuple[bytes, Any]:
            op = endpoint.call(**given, **self._provided(endpoint, request))
            return self._encoded(await self._state.run(op))

        if not endpoint.cached:
            return await make()
        key = (endpoint.path, dumps(given))
        kept: tuple[bytes, Any] = await self._state.cache.get(key, make)
        return kept

    async def _change(
        self, endpoint: Endpoint, given: dict[str, Any], request: Request
    ) -> tuple[bytes, Any]:
        raw = raw_of(endpoint, request.scope)
        if endpoint.signed and self._state.settings.checks_callbacks(raw=raw):
            body, headers = await request.body(), request.headers
            peer = identity_of(request.scope).name
            op = self._deferred(endpoint, given, request, body, raw=raw)
            if raw:
                await self._signatures.require_raw(body, headers, peer)
            else:
                op = self._signatures.guarded(
                    op,
                    given["callback_id"],
                    action=endpoint.segments[-1],
                    body=body,
                    headers=headers,
                    peer=peer,
                )
            await self._state.require_writable()
        else:
            if endpoint.changes:
                await self._state.require_operate(identity_of(request.scope))
            op = self._deferred(endpoint, given, request, await request.body(), raw=raw)
        try:
            return self._encoded(await self._state.run(op))
        finally:
            if endpoint.changes:
                self._state.cache.clear()

    def _deferred(
        self, endpoint: Endpoint, given: dict[str, Any], request: Request, body: bytes, *, raw: bool
    ) -> Op[Any]:
        """Parse the body when the op runs: only after the signature is checked."""
        given |= read_raw(endpoint, body) if raw else read_body(endpoint, request, body)
        return (yield from endpoint.call(**given, **self._provided(endpoint, request)))

    def _provided(self, endpoint: Endpoint, request: Request) -> dict[str, Any]:
        values = {"who": identity_of(request.scope), "settings": self._state.settings}
        return {name: values[name] for name in endpoint.provided}

    def _encoded(self, result: Any) -> tuple[bytes, Any]:
        document = encode(result)
        redactor = self._state.settings.redactor
        if redactor is not None:
            document = redactor.document(document)
        return dumps(document).encode(), document


def _query(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    schemas = endpoint.query_schemas
    given: dict[str, list[str]] = {}
    for name, text in query_pairs(request.scope):
        if name not in schemas:
            raise unknown(f"there is no parameter {name!r}", name, schemas)
        given.setdefault(name, []).append(text)
    for name, _, default in endpoint.members:
        if default is MISSING and name not in given:
            raise InvalidInput(f"{name} is missing", hint=f"send it in the query: ?{name}=…")
    return {name: from_text(schemas[name], texts, name) for name, texts in given.items()}


def _next_link(
    endpoint: Endpoint, given: dict[str, Any], content: tuple[bytes, Any], request: Request
) -> str | None:
    """Return the Link header that leads to the next rows, if the result is as long as its limit."""
    rows = content[1]
    places = {name: key for name, key in _PLACES.items() if name in endpoint.query_schemas}
    if not places or not rows or given.get("sort", "-id") != "-id":
        return None
    if len(rows) < given.get("limit", endpoint.signature.parameters["limit"].default):
        return None
    pairs = [(name, text) for name, text in query_pairs(request.scope) if name not in places]
    query = urlencode([*pairs, *((name, rows[-1][key]) for name, key in places.items())])
    return f'<{root_of(request.scope)}{quote(request.scope[PATH])}?{query}>; rel="next"'
