"""Prints every public name of a package as JSON: classes, bases, members, parameters.

Run by the interpreter of either package (``describe_names.py awa``), so it imports nothing of ours.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import types
import warnings
from typing import Any

MODULES = ("", ".client", ".bridge", ".testing")


def parameters(value: Any) -> list[dict[str, Any]] | None:
    """Return name, kind and default of each parameter; None where they cannot be read."""
    try:
        found = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        {
            "name": one.name,
            "kind": one.kind.name,
            "default": None if one.default is one.empty else repr(one.default),
        }
        for one in found
        if one.name not in {"self", "cls"}
    ]


def describe(value: Any) -> dict[str, Any]:
    """Return what a program can see of a class, a function or a value."""
    if isinstance(value, type):
        members = {}
        for name in dir(value):
            if name.startswith("_"):
                continue
            member = inspect.getattr_static(value, name)
            callable_ = callable(getattr(value, name))
            members[name] = {
                "async": inspect.iscoroutinefunction(getattr(value, name)),
                "parameters": parameters(getattr(value, name)) if callable_ else None,
                "what": "method" if callable_ else type(member).__name__,
            }
        bases = [base.__name__ for base in value.__mro__]
        return {"what": "class", "bases": bases, "members": members,
                "parameters": parameters(value)}  # fmt: skip
    if callable(value):
        return {"what": "function", "async": inspect.iscoroutinefunction(value),
                "parameters": parameters(value)}  # fmt: skip
    return {"what": "value", "repr": repr(value)}


def public(module: types.ModuleType, package: str) -> list[str]:
    """Return the names a module offers: its ``__all__``, else what it defines itself."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return list(listed)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and str(getattr(value, "__module__", "")).startswith(("_awa", package))
    ]


def main(package: str) -> None:
    """Print the description of one package."""
    warnings.simplefilter("ignore")
    # Their testing module wants pytest-asyncio at import; a fixture is a function to us.
    pretend = types.ModuleType("pytest_asyncio")
    pretend.fixture = lambda function: function  # type: ignore[attr-defined]
    sys.modules["pytest_asyncio"] = pretend
    found = {}
    for suffix in MODULES:
        module = importlib.import_module(package + suffix)
        found[suffix] = {name: describe(getattr(module, name)) for name in public(module, package)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
