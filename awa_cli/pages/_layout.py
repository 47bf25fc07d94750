"""What pages are made of: paint, names with values, JSON, a bar."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from awa_cli.output import age, clean
from awa_cli.shapes import encode

__all__ = ["INDENT", "Paint", "fact_lines", "json_lines", "progress_lines"]

_CODES: Final = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34",
    "magenta": "35", "cyan": "36", "bright_black": "90",
}  # fmt: skip
_BAR: Final = 24
INDENT: Final = "  "


class Paint:
    def __init__(self, *, color: bool) -> None:
        self.color = color

    def __call__(self, text: str, style: str) -> str:
        codes = ";".join(_CODES[word] for word in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m" if self.color and codes else text


def fact_lines(facts: list[tuple[str, Any]], paint: Paint) -> list[str]:
    """Lay out names and values; a value that is None is left out."""
    return [
        f"{INDENT}{paint(f'{name:<11}', 'dim')}{_moment(value, paint)}"
        for name, value in facts
        if value is not None
    ]


def _moment(value: Any, paint: Paint) -> str:
    if not isinstance(value, datetime):
        return clean(value)
    return f"{age(value)}  {paint(encode(value), 'dim')}"


def progress_lines(progress: dict[str, Any], paint: Paint) -> list[str]:
    percent = progress.get("percent")
    lines = []
    if isinstance(percent, int):
        done = round(_BAR * min(max(percent, 0), 100) / 100)
        bar = paint("█" * done, "green") + paint("░" * (_BAR - done), "dim")
        lines.append(f"{INDENT}{bar} {percent}%  {clean(progress.get('message') or '')}".rstrip())
    if progress.get("metadata"):
        lines += [paint("Checkpoint", "bold"), *json_lines(progress["metadata"])]
    return lines


def json_lines(value: Any) -> list[str]:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return [INDENT + clean(line) for line in text.splitlines()]
