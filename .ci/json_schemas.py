"""JSON schemas of what commands print, from the dataclasses they print and their docstrings."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import json
import re
import sys
import textwrap
import types
import typing
from datetime import datetime
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awa_cli.documents import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_cli.documents import Document

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PLAIN = {
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Path: {"type": "string"},
    datetime: {"type": "string", "format": "date-time"},
    Any: True,
}


def schemas() -> Iterator[tuple[str, str]]:
    """Yield (file name, text) of each command's schema."""
    for command, document in DOCUMENTS.items():
        text = json.dumps(_schema(command, document), indent=2, ensure_ascii=False)
        yield f"{command.replace(' ', '-')}.json", text + "\n"


def _schema(command: str, document: Document) -> dict[str, Any]:
    definitions: dict[str, Any] = {}
    forms = [_form(form, definitions) for form in document.forms]
    title = f"awa {command} -o json" + (", one line" if document.lines else "")
    whole = forms[0] if len(forms) == 1 else {"anyOf": forms}
    return {
        "$schema": DRAFT,
        "title": title,
        **whole,
        "$defs": dict(sorted(definitions.items())),
    }


def _form(form: str, definitions: dict[str, Any]) -> dict[str, Any]:
    module, _, name = form.removesuffix("[]").partition(":")
    one = _type(getattr(import_module(module), name), definitions)
    return {"type": "array", "items": one} if form.endswith("[]") else one


def _type(hint: Any, definitions: dict[str, Any]) -> Any:
    """Return the schema of a type; dataclasses go to the definitions.  Raises KeyError."""
    if dataclasses.is_dataclass(hint):
        name = hint.__name__  # type: ignore[union-attr] # a class, never an instance
        if name not in definitions:
            definitions[name] = None  # ends a circle
            definitions[name] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{name}"}
    arguments = typing.get_args(hint)
    match typing.get_origin(hint):
        case typing.Union | types.UnionType:
            form = _union([_type(one, definitions) for one in arguments])
        case typing.Literal:
            form = {"enum": list(arguments)}
        case builtins.list:
            form = {"type": "array", "items": _type(arguments[0], definitions)}
        case builtins.dict:
            form = {"type": "object", "additionalProperties": _type(arguments[1], definitions)}
        case _ if isinstance(hint, type) and issubclass(hint, Enum):
            form = {"enum": [one.value for one in hint]}
        case _:
            form = PLAIN[hint]
    return form


def _union(forms: list[Any]) -> dict[str, Any]:
    null = PLAIN[type(None)]
    one, *more = [form for form in forms if form != null]
    if null in forms and not more:
        if "enum" in one:
            return {"enum": [*one["enum"], None]}
        if isinstance(one.get("type"), str):
            return {**one, "type": [one["type"], "null"]}
    return {"anyOf": forms}


def _object(model: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = hints_of(model)
    told = field_texts(model)
    properties = {}
    for field in dataclasses.fields(model):
        form = _type(hints[field.name], definitions)
        if field.name in told:
            form = {**({} if form is True else form), "description": told[field.name]}
        properties[field.name] = form
    return {
        "type": "object",
        "description": _text(model.__doc__ or ""),
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def hints_of(model: Any) -> dict[str, Any]:
    """Return the types of a dataclass by field."""
    return typing.get_type_hints(model, localns=_names(model))


def field_texts(model: Any) -> dict[str, str]:
    """Return the text below each field, of the classes it comes from too."""
    found: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef)
        for field, after in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                found[ast.unparse(field.target)] = _text(ast.literal_eval(after.value))
    return found


def _text(docstring: str) -> str:
    """Return a docstring for readers of JSON."""
    words = re.sub(r"\bNone\b", "null", inspect.cleandoc(docstring))
    paragraphs = words.replace("``", "`").split("\n\n")
    return "\n".join(" ".join(text.split()) for text in paragraphs)


def _names(model: Any) -> dict[str, Any]:
    """Return what the modules of a class import for type checkers alone."""
    names: dict[str, Any] = {}
    for owner in model.__mro__:
        module = sys.modules[owner.__module__]
        if owner is object:
            continue
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for line in node.body:
                    if isinstance(line, ast.ImportFrom) and line.module:
                        source = import_module(line.module)
                        names |= {
                            one.asname or one.name: getattr(source, one.name, None)
                            for one in line.names
                        }
    return names
