"""Names with values, one per line, in the colours of the theme."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from textual.content import Content

from awa_cli.documents.encoding import encode
from awa_cli.views.words import age, clean

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["facts"]

_NAME_WIDTH: Final = 11


def _text(value: Any) -> Content | str:
    if isinstance(value, list):
        return Content("\n" + " " * _NAME_WIDTH).join(value)
    return value if isinstance(value, Content) else clean(value)


def facts(pairs: Iterable[tuple[str, Any]]) -> Content:
    """Return a line for each pair; a pair without a value is left out.

    A date has its age before it.  A list is a value of several lines.
    """
    lines = []
    for name, value in pairs:
        if value is None:
            continue
        parts: list[Any] = [(f"{name:<{_NAME_WIDTH}}", "$quiet")]
        if isinstance(value, datetime):
            parts += [age(value) or "", (f"  {encode(value)}", "$faint")]
        else:
            parts.append(_text(value))
        lines.append(Content.assemble(*parts))
    return Content("\n").join(lines)
