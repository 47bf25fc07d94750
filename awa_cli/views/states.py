"""How each state of a job looks: a colour, and a sign for where colours are not enough."""

from __future__ import annotations

from typing import Final

__all__ = ["STATE_SIGNS", "STATE_STYLES", "state_sign"]

STATE_STYLES: Final = {
    "scheduled": "blue",
    "available": "cyan",
    "running": "bold yellow",
    "completed": "green",
    "retryable": "yellow",
    "failed": "bold red",
    "cancelled": "bright_black",
    "waiting_external": "magenta",
}
# A sign for terminals that show Unicode, and one for those that do not.
STATE_SIGNS: Final = {
    "scheduled": "◷@",
    "available": "·.",
    "running": "▶>",
    "completed": "✓+",
    "retryable": "↻~",
    "failed": "✗x",
    "cancelled": "--",
    "waiting_external": "…:",
    "created": "++",
    # Of bulk operations.
    "pending": "◷@",
}


def state_sign(state: str, *, ascii_only: bool = False) -> str:
    """Return the one-cell sign of a state."""
    return STATE_SIGNS.get(state, "  ")[1 if ascii_only else 0]
