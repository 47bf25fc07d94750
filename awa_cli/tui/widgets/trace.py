"""An error with its traceback, coloured: the cause stands out, our own frames do not."""

from __future__ import annotations

import re
from typing import Final

from textual.content import Content

from awa_cli.output import clean

__all__ = ["trace"]

_FRAME: Final = re.compile(r'(\s*File )"(.*)", line (\d+)(?:, in (.*))?')
_OURS: Final = re.compile(r"[/\\]awa_lib[/\\]")


def trace(text: str) -> Content:
    """Return the text of an error in colours; control characters are made visible."""
    lines: list[Content] = []
    ours = False
    for number, raw in enumerate(text.splitlines()):
        line = clean(raw.expandtabs(4))
        if frame := _FRAME.match(line):
            ours = _OURS.search(frame[2]) is not None
            lines.append(_frame(frame, ours=ours))
        elif number == 0 or not raw.startswith(" "):
            name, colon, rest = line.partition(":")
            head = "bold $text-error" if " " not in name else "$text-error"
            lines.append(Content.assemble((name, head), (colon + rest, "$text-error")))
        elif not line.strip(" ^~"):
            lines.append(Content.styled(line, "$faint" if ours else "$text-error"))
        else:
            lines.append(Content.styled(line, "$faint" if ours else ""))
    return Content("\n").join(lines)


def _frame(found: re.Match[str], *, ours: bool) -> Content:
    if ours:
        return Content.styled(found[0], "$faint")
    parts = [
        (found[1], "$quiet"), (found[2], "$text-primary"), (", line ", "$quiet"),
        (found[3], "bold $text-warning"),
    ]  # fmt: skip
    if found[4]:
        parts += [(", in ", "$quiet"), (found[4], "$text-accent")]
    return Content.assemble(*parts)
