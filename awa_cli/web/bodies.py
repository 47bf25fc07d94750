"""The body of a request: a JSON object, or with ``?raw=1`` one value of any form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from awa_cli.web.json_schema import check_object, unknown
from awa_cli.web.problems import Refused
from awa_cli.web.query_string import query_pairs
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Scope

    from awa_cli.web.endpoints import Endpoint

__all__ = ["raw_of", "read_body", "read_json", "read_raw"]

_JSON: Final = "application/json"


def raw_of(endpoint: Endpoint, scope: Scope) -> bool:
    """Return whether the body is raw.  Raises InvalidInput for any other query."""
    pairs = query_pairs(scope)
    known = () if endpoint.raw is None else ("raw",)
    for name, value in pairs:
        if name not in known:
            raise unknown(f"there is no parameter {name!r}", name, known)
        if value != "1":
            raise InvalidInput("raw must be 1", hint="send it in the query: ?raw=1")
    return bool(pairs)


def read_body(endpoint: Endpoint, request: Request, body: bytes) -> dict[str, Any]:
    """Return the members of a JSON body.  Raises Refused, InvalidInput."""
    if not body:
        return check_object(endpoint.body_schema, {}, "the body")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _JSON:
        raise Refused(
            415,
            "the body must be JSON",
            f"its content type is {kind}" if kind else "it has no content type",
            "send the header Content-Type: application/json",
        )
    return check_object(endpoint.body_schema, read_json(body), "the body")


def read_raw(endpoint: Endpoint, body: bytes) -> dict[str, Any]:
    """Return the member that a raw body is: JSON data, or text if it is not JSON.

    An empty body has no member.  Raises Refused, InvalidInput.
    """
    name, schema = endpoint.raw, endpoint.body_schema
    assert name is not None
    if not body:
        return check_object(schema, {}, "the body")
    try:
        value: Any = body.decode()
    except UnicodeDecodeError:
        raise Refused(
            415,
            "the body is neither JSON nor text",
            "it is not UTF-8",
            "send JSON or text in UTF-8",
        ) from None
    if schema["properties"][name].get("type") != "string":
        try:
            value = _loads(body)
        except ValueError:
            pass
        except RecursionError:
            raise _too_deep() from None
    return check_object(schema, {name: value}, "the body")


def read_json(body: bytes) -> Any:
    """Parse a JSON body.  Raises Refused (400)."""
    try:
        return _loads(body)
    except ValueError as error:
        why = str(error).lower()
        raise Refused(400, "the body is not JSON", why, "send a JSON object") from None
    except RecursionError:
        raise _too_deep() from None


def _loads(body: bytes) -> Any:
    return json.loads(body, parse_constant=_no_constant)


def _too_deep() -> Refused:
    return Refused(400, "the body is not JSON", "it is nested too deeply", "send a JSON object")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
