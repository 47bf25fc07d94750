"""An error with its traceback, in colours."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from awa_cli.views.tracebacks import read_trace

__all__ = ["trace"]

_STYLES: Final = {
    "cause": "bold $text-error",
    "words": "$text-error",
    "point": "$text-error",
    "code": "",
    "file": "$text-primary",
    "line": "bold $text-warning",
    "function": "$text-accent",
    "glue": "$quiet",
    "ours": "$faint",
}


def trace(text: str) -> Content:
    """Return the text of an error in colours, with control characters made visible."""
    return Content("\n").join(
        Content.assemble(*((part, _STYLES[role]) for role, part in line))
        for line in read_trace(text)
    )
