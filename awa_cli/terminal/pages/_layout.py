"""The parts of pages: names with values, JSON, a progress bar."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from awa_cli.documents.encoding import encode
from awa_cli.views.words import age, clean

if TYPE_CHECKING:
    from awa_cli.terminal.colors import Paint

__all__ = ["INDENT", "bar", "fact_lines", "json_lines", "progress_lines"]

_BAR_CELLS: Final = 24
INDENT: Final = "  "


def fact_lines(facts: list[tuple[str, Any]], paint: Paint) -> list[str]:
    """Lay out names and values; None values are left out."""
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
    """Lay out a percentage with its message as a bar, and a checkpoint."""
    percent = progress.get("percent")
    lines = []
    if isinstance(percent, int):
        drawn = bar(percent, _BAR_CELLS, paint)
        lines.append(f"{INDENT}{drawn} {percent}%  {clean(progress.get('message') or '')}".rstrip())
    if progress.get("metadata"):
        lines += ["", paint("Checkpoint", "bold"), *json_lines(progress["metadata"])]
    return lines


def bar(percent: int, width: int, paint: Paint) -> str:
    """Draw a percentage as a bar of some cells."""
    done = round(width * min(max(percent, 0), 100) / 100)
    return paint("█" * done, "green") + paint("░" * (width - done), "dim")


def json_lines(value: Any) -> list[str]:
    """Lay out a value as indented JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return [INDENT + clean(line) for line in text.splitlines()]
