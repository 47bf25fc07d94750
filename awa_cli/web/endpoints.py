"""The table of endpoints: an endpoint is a function that returns an operation.

The ``{names}`` of the path are arguments of the function.  Its other arguments are the query of a
GET, or the members of a POST's JSON body.  The server provides ``who``, the identity of the
caller, and ``settings``.  The OpenAPI document is made of the types and the docstring.
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, get_args
from urllib.parse import unquote_to_bytes

from awa_cli.web.json_schema import Schemas, without_null
from awa_cli.web.place import raw_below
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import Scope

__all__ = ["Endpoint", "Routes", "Table", "path_parts"]

_PROVIDED: Final = frozenset({"who", "settings"})
_ARGUMENT: Final = "{}"


@dataclass(frozen=True)
class Endpoint:
    """A method of a path."""

    method: str
    path: str
    call: Callable[..., Any]
    tag: str
    cached: bool = False
    """Whether answers come from the cache, which any change through this server empties."""
    rules: dict[str, Any] = field(default_factory=dict)
    """Keywords of JSON Schema for the body, in addition to its members."""
    signed: bool = False
    """Whether requests carry a signature, if a secret is set."""
    raw: str | None = None
    """The member that the whole body is with ``?raw=1``."""
    conflicts: bool = False
    """Whether a read is refused for the state of the object."""

    @property
    def changes(self) -> bool:
        """Whether it needs the scope ``operate`` and a writable database."""
        return self.method != "GET" and not self.previews

    @property
    def previews(self) -> bool:
        """Whether it is a POST that changes nothing."""
        return self.path.endswith("/preview")

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The segments of the path."""
        return tuple(self.path.strip("/").split("/"))

    @cached_property
    def signature(self) -> inspect.Signature:
        """The signature of the function, with resolved types."""
        return inspect.signature(self.call, eval_str=True)

    @cached_property
    def provided(self) -> frozenset[str]:
        """The arguments that the server provides: ``who``, ``settings``."""
        return _PROVIDED & self.signature.parameters.keys()

    @cached_property
    def path_names(self) -> tuple[str, ...]:
        """The arguments in the path."""
        return tuple(one[1:-1] for one in self.segments if one.startswith("{"))

    @cached_property
    def members(self) -> list[tuple[str, Any, Any]]:
        """(name, type, default) of each argument of the query or the body."""
        return [
            (name, one.annotation, MISSING if one.default is one.empty else one.default)
            for name, one in self.signature.parameters.items()
            if name not in _PROVIDED and name not in self.path_names
        ]

    @cached_property
    def path_schemas(self) -> dict[str, Any]:
        """The schema of each argument in the path."""
        schemas = Schemas()
        found = self.signature.parameters
        return {name: schemas.of(found[name].annotation) for name in self.path_names}

    @cached_property
    def query_schemas(self) -> dict[str, Any]:
        """The schema of each argument of the query."""
        schemas = Schemas()
        return {name: without_null(schemas.of(kind)) for name, kind, _ in self.members}

    @cached_property
    def body_schema(self) -> dict[str, Any]:
        """The schema of the body."""
        return {**Schemas().object_of(self.members), **self.rules}

    @cached_property
    def result(self) -> Any:
        """The type of the answer: what the operation returns."""
        return get_args(self.signature.return_annotation)[2]


class Routes:
    """The endpoints of a noun, declared by its module."""

    def __init__(self, tag: str, *, signed: bool = False) -> None:
        self.tag = tag
        self._signed = signed
        self.endpoints: list[Endpoint] = []

    def get(
        self, path: str, *, cached: bool = False, conflicts: bool = False
    ) -> Callable[[Any], Any]:
        """Declare a read."""
        return self._declare("GET", path, cached=cached, conflicts=conflicts)

    def post(self, path: str, *, raw: str | None = None, **rules: Any) -> Callable[[Any], Any]:
        """Declare an action; ``rules`` are keywords of JSON Schema for its body."""
        return self._declare("POST", path, rules=rules, raw=raw)

    def _declare(self, method: str, path: str, **more: Any) -> Callable[[Any], Any]:
        def declare(call: Any) -> Any:
            self.endpoints.append(
                Endpoint(method, path, call, self.tag, signed=self._signed, **more)
            )
            return call

        return declare


class Table:
    """The endpoints by path and method."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = list(endpoints)
        self._by_shape: dict[tuple[str, ...], dict[str, Endpoint]] = {}
        for one in self.endpoints:
            shape = tuple(_ARGUMENT if part.startswith("{") else part for part in one.segments)
            self._by_shape.setdefault(shape, {})[one.method] = one
        # Literal segments win over arguments.
        self._shapes = sorted(self._by_shape, key=lambda shape: shape.count(_ARGUMENT))

    def find(self, parts: list[str]) -> dict[str, Endpoint]:
        """Return the endpoints of a path by method; empty for an unknown path."""
        found = self._by_shape.get(tuple(parts))
        if found is not None:
            return found
        for shape in self._shapes:
            if len(shape) == len(parts) and all(
                part in (_ARGUMENT, given) for part, given in zip(shape, parts, strict=True)
            ):
                return self._by_shape[shape]
        return {}


def path_parts(scope: Scope) -> list[str]:
    """Return the decoded segments of the path below the mount point; ``%2F`` does not split.

    Raises InvalidInput for a path that is not UTF-8.
    """
    parts = raw_below(scope["raw_path"], scope["root_path"]).split(b"/")[1:]
    try:
        return [unquote_to_bytes(part).decode() for part in parts]
    except UnicodeDecodeError:
        raise InvalidInput("the path is not UTF-8") from None
