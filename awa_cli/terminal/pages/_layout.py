"""What pages are made of: paint, names with values, JSON, a bar."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from awa_cli.documents.encoding import encode
from awa_cli.terminal.colors import Paint
from awa_cli.views.words import age, clean

__all__ = ["INDENT", "Paint", "fact_lines", "json_lines", "progress_lines"]

_BAR: Final = 24
INDENT: Final = "  "


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
    return f"{age(value)}  {paint(encode(value.replace(microsecond=0)), 'dim')}"


def progress_lines(progress: dict[str, Any], paint: Paint) -> list[str]:
    percent = progress.get("percent")
    lines = []
    if isinstance(percent, int):
        done = round(_BAR * min(max(percent, 0), 100) / 100)
        bar = paint("█" * done, "green") + paint("░" * (_BAR - done), "dim")
        lines.append(f"{INDENT}{bar} {percent}%  {clean(progress.get('message') or '')}".rstrip())
    if progress.get("metadata"):
        lines += ["", paint("Checkpoint", "bold"), *json_lines(progress["metadata"])]
    return lines


def json_lines(value: Any) -> list[str]:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return [INDENT + clean(line) for line in text.splitlines()]
