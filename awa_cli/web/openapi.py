"""The OpenAPI document, made of the table of endpoints."""

from __future__ import annotations

import re
from dataclasses import MISSING
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from awa_cli.version import version
from awa_cli.web.api.fields import KEEP
from awa_cli.web.events import ONE, TOPICS
from awa_cli.web.json_schema import Schemas, without_null
from awa_cli.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from awa_cli.web.endpoints import Endpoint, Table

__all__ = ["document"]

_REASONS: Final = {
    400: "The body is not JSON.",
    401: "The credentials or the signature are missing or not valid.",
    403: "The caller may not do this, or the request comes from a page of another site.",
    404: "The object does not exist.",
    408: "The body did not arrive in time.",
    409: "The state of the object does not allow this.",
    413: "The body is too long.",
    415: "The content type of the body is not JSON.",
    421: "The host name, or the prefix that a proxy tells, is not allowed.",
    422: "A value is not valid.",
    429: "Too many requests.",
    500: "A fault in the server.",
    503: "The database is unreachable or read-only.",
}
_READS: Final = (401, 403, 404, 421, 422, 429, 500, 503)
_CHANGES: Final = (400, 401, 403, 404, 408, 409, 413, 415, 421, 422, 429, 500, 503)


def document(table: Table, root: str = "") -> dict[str, Any]:
    """Return the OpenAPI document of a table, whose server is below ``root``."""
    found = _document(table)
    return {**found, "servers": [{"url": root}]} if root else found


@cache
def _document(table: Table) -> dict[str, Any]:
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in table.endpoints:
        operation = _operation(endpoint, schemas)
        paths.setdefault(f"/api{endpoint.path}", {})[endpoint.method.lower()] = operation
    schemas.of(Problem)
    paths["/api/events"] = {"get": _events()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "awa",
            "version": version(),
            "description": "The API of a PostgreSQL job queue: read, change and follow it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for one in table.endpoints)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.defined.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
                "signature": {"type": "apiKey", "in": "header", "name": "X-Awa-Signature"},
                "request signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Awa-Request-Signature",
                },
            },
        },
    }


def _operation(endpoint: Endpoint, schemas: Schemas) -> dict[str, Any]:
    text = re.sub(r"``", "`", endpoint.call.__doc__ or "")
    summary, _, more = text.partition("\n")
    changes = endpoint.method != "GET"
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "tags": [endpoint.tag],
        "summary": summary.strip(),
        "parameters": [_path_parameter(endpoint, name) for name in endpoint.path_names],
        "responses": {
            "200": {
                "description": "Done." if changes else "Found.",
                "content": {"application/json": {"schema": schemas.of(endpoint.result)}},
            },
            **{str(code): _problem(code) for code in _codes(endpoint)},
        },
    }
    if description := " ".join(more.split()):
        operation["description"] = description
    if endpoint.signed:
        operation["security"] = [{"signature": []}, {"request signature": []}, {}]
    else:
        operation["security"] = [{}, {"token": []}, {"password": []}]
    if not changes:
        operation["parameters"] += [_query_parameter(endpoint, *one) for one in endpoint.members]
    elif endpoint.members:
        operation["requestBody"] = _body(endpoint)
    if endpoint.raw is not None:
        operation["parameters"].append(_raw(endpoint.raw))
    return operation


def _codes(endpoint: Endpoint) -> Collection[int]:
    if endpoint.method != "GET":
        return _CHANGES
    return sorted((*_READS, 409)) if endpoint.conflicts else _READS


def _operation_id(endpoint: Endpoint) -> str:
    module = endpoint.call.__module__.rpartition(".")[2]
    return f"{module}.{endpoint.call.__name__}"


def _path_parameter(endpoint: Endpoint, name: str) -> dict[str, Any]:
    schema = endpoint.path_schemas[name]
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": _without_description(schema),
        **_description(schema),
    }


def _query_parameter(endpoint: Endpoint, name: str, _: Any, default: Any) -> dict[str, Any]:
    schema = endpoint.query_schemas[name]
    shown = _without_description(schema)
    if default not in (MISSING, None):
        shown = {**shown, "default": default}
    return {
        "name": name,
        "in": "query",
        "required": default is MISSING,
        "schema": shown,
        **_description(schema),
    }


def _body(endpoint: Endpoint) -> dict[str, Any]:
    schema = endpoint.body_schema
    properties = dict(schema["properties"])
    for name, _, default in endpoint.members:
        if default is not MISSING and default is not None and default is not KEEP:
            properties[name] = {**properties[name], "default": default}
    return {
        "required": bool(schema.get("required") or endpoint.rules),
        "content": {"application/json": {"schema": {**schema, "properties": properties}}},
    }


def _raw(member: str) -> dict[str, Any]:
    return {
        "name": "raw",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "enum": [1]},
        # A media type beside JSON would be wrong for requests without it.
        "description": f"The whole body, of any content type, is the {member}: JSON, or text if "
        "it is not JSON. The function of --verify checks its signature.",
    }


def _description(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema["description"]} if "description" in schema else {}


def _without_description(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key != "description"}


def _problem(code: int) -> dict[str, Any]:
    return {
        "description": _REASONS[code],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _events() -> dict[str, Any]:
    topics = "|".join(TOPICS)
    topic = {
        "type": "array",
        "maxItems": 8,
        "items": {"type": "string", "pattern": f"^({topics}|{ONE})$"},
    }
    return {
        "operationId": "events.watch",
        "tags": ["events"],
        "summary": "Live events.",
        "description": (
            "Server-sent events, named like their topic: snapshots when they change, and the "
            "activity. `lost`: the database is unreachable. `gone`: what was followed was deleted. "
            "`missed`: the client was too slow, and events of the activity were dropped."
        ),
        "parameters": [
            {
                "name": "topic",
                "in": "query",
                "required": False,
                "schema": without_null(topic),
                "description": "The topics to follow; stats and queues by default.",
            },
        ],
        "responses": {
            "200": {
                "description": "An endless stream.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            },
            **{str(code): _problem(code) for code in _READS},
        },
        "security": [{}, {"token": []}, {"password": []}],
    }
