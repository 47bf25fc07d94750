"""Read what people type: JSON, durations, moments, states, queue settings."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import typer

__all__ = ["read_duration", "read_json", "read_moment", "read_queue", "read_state"]

_STATES: Final = (
    "scheduled", "available", "running", "completed", "retryable", "failed", "cancelled",
    "waiting_external",
)  # fmt: skip
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_PIECE: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")


def read_json(text: str, option: str) -> Any:
    """Read JSON given as text, as ``@file``, or as ``-`` for stdin."""
    import json

    source = text
    if text == "-":
        source = sys.stdin.read()
    elif text.startswith("@"):
        try:
            source = Path(text[1:]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise typer.BadParameter(
                f"cannot read {text[1:]!r}: {reason}", param_hint=option
            ) from None
    try:
        return json.loads(source)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from None


def read_state(text: str) -> str:
    """Check the name of a job state."""
    if text in _STATES:
        return text
    close = get_close_matches(text.lower(), _STATES, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else "one of " + ", ".join(_STATES)
    raise typer.BadParameter(f"unknown job state: {text}; {hint}", param_hint="--state")


def read_duration(text: str, option: str) -> timedelta:
    """Read ``90``, ``1.5s``, ``10m``, ``2h30m`` or ``7d``; a bare number is seconds."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        text += "s"
    pieces = _PIECE.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise typer.BadParameter(
            f"{text!r} is not a duration; write 90s, 10m, 2h30m or 7d", param_hint=option
        )
    try:
        return timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in pieces))
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too long", param_hint=option) from None


def read_moment(text: str, option: str) -> datetime:
    """Read an RFC 3339 moment; without an offset it is local time."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is not a moment; write 2030-01-31T08:00:00+01:00", param_hint=option
        ) from None


def read_queue(text: str) -> tuple[str, int | None]:
    """Read ``NAME`` or ``NAME=N``, a queue and how many of its jobs run at once."""
    name, equals, number = text.rpartition("=")
    if not equals:
        return text, None
    if not number.isdecimal() or not 0 < int(number) <= 100_000 or not name:  # noqa: PLR2004
        raise typer.BadParameter(
            f"{text!r} is not NAME or NAME=N with N from 1", param_hint="--queue"
        )
    return name, int(number)
