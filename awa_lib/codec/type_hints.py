"""Resolve the type hints of a class, also hints that refer to local names."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["filled", "hints_of", "local_names", "loose_hint", "loose_hints_of"]


def hints_of(cls: type, local: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the hints of a class by field name, or None while a name is unknown.

    A module may refer to a type before it defines it, so a later call may succeed.
    """
    try:
        return typing.get_type_hints(cls, localns=dict(local) or None, include_extras=True)
    except Exception:  # noqa: BLE001 - evaluates the text of annotations
        return None


def local_names(cls: Any) -> dict[str, Any]:
    """Return the local names of the running functions that a class or function was defined in."""
    names: dict[str, Any] = {}
    if "<locals>" not in cls.__qualname__:
        return names
    frame: types.FrameType | None = sys._getframe(1)  # noqa: SLF001 - the only access to frames
    while frame is not None:
        inside = cls.__qualname__.startswith(f"{frame.f_code.co_qualname}.<locals>.")
        if inside and frame.f_globals.get("__name__") == cls.__module__:
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def loose_hints_of(cls: type, local: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hints of a class by field name, with ``Any`` for unknown names."""
    hints: dict[str, Any] = {}
    for owner in reversed(cls.__mro__):
        names = getattr(sys.modules.get(owner.__module__), "__dict__", {})
        for name, annotation in inspect.get_annotations(owner).items():
            hints[name] = loose_hint(annotation, names, local)
    return hints


def loose_hint(annotation: Any, names: Mapping[str, Any], local: Mapping[str, Any]) -> Any:
    """Return an annotation as a type, ``Any`` if it has unknown names."""
    alone = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(alone, dict(names), dict(local), include_extras=True)["it"]
    except Exception:  # noqa: BLE001 - evaluates the text of annotations
        return Any


def filled(hint: Any, generic: Mapping[Any, Any]) -> Any:
    """Return a hint with its type variables replaced, by ``Any`` if not given."""
    if isinstance(hint, TypeVar):
        return generic.get(hint, Any)
    if isinstance(hint, type):
        return hint
    variables = getattr(hint, "__parameters__", ())
    return hint[tuple(generic.get(v, Any) for v in variables)] if variables else hint
