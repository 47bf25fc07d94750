"""JSON schemas of what commands print, from the dataclasses they print and their docstrings."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
import typing
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awa_cli.documents.catalog import DOCUMENTS
from awa_cli.web.json_schema import Schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_cli.documents.catalog import Document

DRAFT = "https://json-schema.org/draft/2020-12/schema"


class Described(Schemas):
    """Schemas that also say what stands below each field of a dataclass."""

    prefix = "#/$defs/"

    def of(self, kind):
        return {"type": "string"} if kind is Path else super().of(kind)

    def hints(self, kind):
        return hints_of(kind)

    def model(self, kind):
        made = super().model(kind) | {"description": _text(kind.__doc__ or "")}
        for name, text in field_texts(kind).items():
            made["properties"][name] = {**made["properties"][name], "description": text}
        return made


def schemas() -> Iterator[tuple[str, str]]:
    """Yield (file name, text) of each command's schema."""
    for command, document in DOCUMENTS.items():
        text = json.dumps(_schema(command, document), indent=2, ensure_ascii=False)
        yield f"{command.replace(' ', '-')}.json", text + "\n"


def _schema(command: str, document: Document) -> dict[str, Any]:
    made = Described()
    forms = [_form(form, made) for form in document.forms]
    title = f"awa {command} -o json" + (", one line" if document.lines else "")
    whole = forms[0] if len(forms) == 1 else {"anyOf": forms}
    return {
        "$schema": DRAFT,
        "title": title,
        **whole,
        "$defs": dict(sorted(made.defined.items())),
    }


def _form(form: str, made: Described) -> dict[str, Any]:
    module, _, name = form.removesuffix("[]").partition(":")
    one = made.of(getattr(import_module(module), name))
    return {"type": "array", "items": one} if form.endswith("[]") else one


# Schemas share their classes, and to parse a module takes 10 ms.
@cache
def hints_of(model: Any) -> dict[str, Any]:
    """Return the types of a dataclass by field."""
    return typing.get_type_hints(model, localns=_names(model), include_extras=True)


@cache
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
        if owner is not object:
            names |= _typed_names(owner.__module__)
    return names


@cache
def _typed_names(module: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                if isinstance(line, ast.ImportFrom) and line.module:
                    source = import_module(line.module)
                    names |= {
                        one.asname or one.name: getattr(source, one.name, None)
                        for one in line.names
                    }
    return names
