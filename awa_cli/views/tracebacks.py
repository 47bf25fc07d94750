"""Parse an error with its traceback, to highlight the cause and to dim frames of awa."""

from __future__ import annotations

import re
from typing import Final

from awa_cli.views.words import clean

__all__ = ["read_trace"]

_FRAME: Final = re.compile(r'(\s*File )"(.*)", line (\d+)(?:, in (.*))?')
_OURS: Final = re.compile(r"[/\\]awa_lib[/\\]")


def read_trace(text: str) -> list[list[tuple[str, str]]]:
    """Return the lines as parts, each with its role; control characters are escaped.

    The roles are ``cause`` and ``words`` of an error, ``point``, ``code``, the ``file``, ``line``
    and ``function`` of a frame, ``glue`` between them, and ``ours`` for frames of this library.
    """
    lines: list[list[tuple[str, str]]] = []
    ours = False
    for number, raw in enumerate(text.splitlines()):
        line = clean(raw.expandtabs(4))
        if frame := _FRAME.match(line):
            ours = _OURS.search(frame[2]) is not None
            lines.append([("ours", frame[0])] if ours else _frame(frame))
        elif number == 0 or not raw.startswith(" "):
            name, colon, rest = line.partition(":")
            lines.append([("words" if " " in name else "cause", name), ("words", colon + rest)])
        elif ours:
            lines.append([("ours", line)])
        else:
            lines.append([("code" if line.strip(" ^~") else "point", line)])
    return lines


def _frame(found: re.Match[str]) -> list[tuple[str, str]]:
    parts = [("glue", found[1]), ("file", found[2]), ("glue", ", line "), ("line", found[3])]
    return parts + ([("glue", ", in "), ("function", found[4])] if found[4] else [])
