"""JSON Schema of Python types, and a validator for input.

The OpenAPI document publishes the schemas that input is validated with, so the two cannot differ.
Only the keywords of JSON Schema that the endpoints use are implemented.
"""

from __future__ import annotations

import math
import re
import types
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, get_args, get_origin

from awa_cli.web import models
from awa_lib.errors import InvalidInput
from awa_lib.validation import INT64_MAX, did_you_mean, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Schema = dict[str, Any]

__all__ = ["Rule", "Schemas", "check", "check_object", "from_text", "unknown", "without_null"]


class Rule(dict[str, Any]):
    """Keywords of JSON Schema in addition to a type: ``Annotated[int, Rule(minimum=1)]``."""

    __hash__ = object.__hash__  # type: ignore[assignment] # typing hashes annotations


_PLAIN: Final[dict[Any, dict[str, Any]]] = {
    Any: {},
    type(None): {"type": "null"},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
    dict: {"type": "object"},
    list: {"type": "array"},
}


class Schemas:
    """JSON Schemas of types; the schemas of classes are in ``defined``, and referred to."""

    prefix = "#/components/schemas/"

    def __init__(self) -> None:
        self.defined: dict[str, Schema] = {}

    def of(self, kind: Any) -> Schema:  # noqa: PLR0911 - a return for each form of type
        """Return the schema of a type."""
        origin, inner = get_origin(kind), get_args(kind)
        if origin is None and kind in _PLAIN:
            return dict(_PLAIN[kind])
        if origin is Annotated:
            schema = self.of(inner[0])
            for rule in inner[1:]:
                schema |= rule
            return schema
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"type": "string", "enum": [str(one) for one in kind]}
        if origin is Literal:
            return {"type": "string", "enum": list(inner)}
        if origin in {Union, types.UnionType}:
            return _any_of([self.of(one) for one in inner])
        if origin is list:
            return {"type": "array", "items": self.of(inner[0])}
        if origin is dict:
            values = self.of(inner[1])
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        if is_dataclass(kind):
            return self._refer(kind)
        raise TypeError(f"no schema for {kind!r}")

    def _refer(self, kind: Any) -> Schema:
        name = kind.__name__
        if name not in self.defined:
            self.defined[name] = {}
            self.defined[name] = self.model(kind)
        return {"$ref": self.prefix + name}

    def hints(self, kind: Any) -> Mapping[str, Any]:
        """Return the types of a dataclass's fields."""
        return models.hints(kind)

    def model(self, kind: Any) -> Schema:
        """Return the schema of a dataclass."""
        hints = self.hints(kind)
        properties = {field.name: self.of(hints[field.name]) for field in fields(kind)}
        return {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").split()).replace("``", ""),
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }

    def object_of(self, given: Iterable[tuple[str, Any, Any]]) -> Schema:
        """Return the schema of an object with these (name, type, default) members."""
        members = list(given)
        schema: Schema = {
            "type": "object",
            "properties": {name: self.of(kind) for name, kind, _ in members},
            "additionalProperties": False,
        }
        if needed := [name for name, _, default in members if default is MISSING]:
            schema["required"] = needed
        return schema


def _any_of(parts: list[Schema]) -> Schema:
    null = {"type": "null"}
    if len(parts) == 2 and null in parts:  # noqa: PLR2004 - X | None
        other = next(one for one in parts if one != null)
        if isinstance(kind := other.get("type"), str) and "enum" not in other:
            return {**other, "type": [kind, "null"]}
    return {"anyOf": parts}


def without_null(schema: Schema) -> Schema:
    """Return the schema without null, for a value that is left out instead."""
    if isinstance(kind := schema.get("type"), list):
        return {**schema, "type": next(one for one in kind if one != "null")}
    if "anyOf" in schema:
        kept = [one for one in schema["anyOf"] if one != {"type": "null"}]
        if len(kept) == 1:
            rest = {key: value for key, value in schema.items() if key != "anyOf"}
            return {**kept[0], **rest}
    return schema


def from_text(schema: Schema, texts: list[str], name: str) -> Any:
    """Parse a parameter of the path or the query.  Raises InvalidInput."""
    kind = schema.get("type")
    if kind == "array":
        values = [_from_text(schema["items"], text, name) for text in texts]
        return check(schema, values, name)
    if len(texts) > 1:
        raise InvalidInput(f"{name} is given twice", hint=f"give {name} only once")
    return check(schema, _from_text(schema, texts[0], name), name)


def _from_text(schema: Schema, text: str, name: str) -> Any:
    kind = schema.get("type")
    if kind == "integer" and re.fullmatch(r"-?[0-9]{1,20}", text):
        return int(text)
    if kind == "number" and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", text):
        return float(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    if kind in {"integer", "number", "boolean"}:
        article = "an" if kind == "integer" else "a"
        raise InvalidInput(f"{name} must be {article} {kind}: {text!r}")
    return text


def check(schema: Schema, value: Any, name: str) -> Any:
    """Return the value if it is valid, whole floats as integers.  Raises InvalidInput."""
    if "anyOf" in schema and "type" not in schema:
        return _check_any(schema["anyOf"], value, name)
    if "type" in schema:
        value = _typed(schema["type"], value, name)
    if "enum" in schema and value is not None and value not in schema["enum"]:
        raise _not_one_of(schema["enum"], value, name)
    if isinstance(value, str):
        _check_text(schema, value, name)
    elif isinstance(value, list):
        return _check_list(schema, value, name)
    elif isinstance(value, dict) and "properties" in schema:
        return check_object(schema, value, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(schema, value, name)
    return value


def _check_any(choices: list[Schema], value: Any, name: str) -> Any:
    problem: InvalidInput | None = None
    for one in choices:
        try:
            return check(one, value, name)
        except InvalidInput as error:
            problem = problem or error
    assert problem is not None
    raise problem


_FITS: Final[dict[str, Any]] = {
    "null": lambda value: value is None,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
}


def _kind_of(value: Any) -> str:
    return next((kind for kind, fits in _FITS.items() if fits(value)), "number")


def _typed(kinds: str | list[str], value: Any, name: str) -> Any:
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if "integer" in kinds and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not any(_FITS[kind](value) for kind in kinds):
        # Arguments of a job are not shown.
        got = f"it is {_kind_of(value)}" if "object" in kinds else _shown(value)
        raise InvalidInput(f"{name} must be of type {' or '.join(kinds)}: {got}")
    return value


def _check_text(schema: Schema, value: str, name: str) -> None:
    if not storable(value):
        raise InvalidInput(
            f"{name} contains a character that PostgreSQL cannot store",
            why="NUL characters and lone surrogates are not allowed in text",
        )
    low, high = schema.get("minLength", 0), schema.get("maxLength", INT64_MAX)
    if not low <= len(value) <= high:
        raise InvalidInput(f"{name} must have {low} to {high} characters: it has {len(value)}")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise InvalidInput(f"{name} does not have the right form: {_shown(value)}")


def _check_number(schema: Schema, value: float, name: str) -> None:
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if not low <= value <= high or value <= schema.get("exclusiveMinimum", -math.inf):
        raise InvalidInput(f"{name} must be from {low} to {high}: {_shown(value)}")


def _check_list(schema: Schema, value: list[Any], name: str) -> list[Any]:
    low, high = schema.get("minItems", 0), schema.get("maxItems", INT64_MAX)
    if not low <= len(value) <= high:
        raise InvalidInput(f"{name} must have {low} to {high} items: it has {len(value)}")
    inner = schema.get("items", {})
    return [check(inner, one, f"{name}[{number}]") for number, one in enumerate(value)]


def check_object(schema: Schema, value: Any, name: str) -> dict[str, Any]:
    """Return the valid members of an object.  Raises InvalidInput."""
    _typed("object", value, name)
    known: dict[str, Schema] = schema["properties"]
    for key in value:
        if key not in known:
            raise unknown(f"{name} has no field {_shown(key)}", key, known)
    for key in schema.get("required", ()):
        if key not in value:
            raise InvalidInput(f"{key} is missing", hint=f"send it in {name}")
    return {key: check(known[key], value[key], key) for key in value}


def unknown(what: str, name: str, known: Iterable[str]) -> InvalidInput:
    """Return the error for an unknown name, with a hint to the nearest known name."""
    names = list(known)
    return InvalidInput(
        what,
        why=f"valid names are {', '.join(names)}" if names else "no names are accepted here",
        hint=did_you_mean(name, names),
    )


def _not_one_of(choices: list[Any], value: Any, name: str) -> InvalidInput:
    error = unknown(f"{name} cannot be {_shown(value)}", str(value), map(str, choices))
    error.why = f"valid values are {', '.join(map(str, choices))}"
    return error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - a line of an error text
