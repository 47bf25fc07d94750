"""The styles of states and severities: a colour, and a sign for output without colours."""

from __future__ import annotations

from typing import Final

__all__ = [
    "BATCH_STYLES",
    "SEVERITY_STYLES",
    "STATE_SIGNS",
    "STATE_STYLES",
    "WORKER_STYLES",
    "WORKFLOW_STYLES",
    "state_label",
    "state_sign",
]

STATE_STYLES: Final = {
    "scheduled": "blue",
    "available": "cyan",
    "running": "bold yellow",
    "completed": "green",
    "retryable": "yellow",
    "failed": "bold red",
    "cancelled": "bright_black",
    "waiting_external": "magenta",
    "dead": "bold red",
}
BATCH_STYLES: Final = {
    "pending": "cyan",
    "running": "bold yellow",
    "completed": "green",
    "failed": "bold red",
    "cancelled": "bright_black",
}
WORKER_STYLES: Final = {
    "healthy": "green",
    "degraded": "bold red",
    "silent": "bold red",
    "stopping": "yellow",
    "stopped": "bright_black",
}
# Of workflows and their tasks.
WORKFLOW_STYLES: Final = {
    "open": "bold yellow",
    "waiting": "cyan",
    "started": "bold yellow",
    "succeeded": "green",
    "failed": "bold red",
    "cancelled": "bright_black",
    "skipped": "bright_black",
}
SEVERITY_STYLES: Final = {
    "error": "bold red",
    "warning": "bold yellow",
    "note": "cyan",
    "ok": "green",
}
# A sign in Unicode, and a sign in ASCII.
STATE_SIGNS: Final = {
    "scheduled": "◷@",
    "available": "·.",
    "running": "▶>",
    "completed": "✓+",
    "retryable": "↻~",
    "failed": "✗x",
    "cancelled": "--",
    "waiting_external": "…:",
    "dead": "†x",
    "created": "++",
    # Of bulk operations.
    "pending": "◷@",
    # Of workflows and their tasks.
    "open": "▶>",
    "waiting": "·.",
    "started": "▶>",
    "succeeded": "✓+",
    "skipped": "--",
}


# Words that are plainer than the name.
_LABELS: Final = {"waiting_external": "waiting", "dead": "dead letter"}


def state_label(state: str) -> str:
    """Return the words for a state on a page: ``waiting`` for ``waiting_external``."""
    return _LABELS.get(state, state.replace("_", " "))


def state_sign(state: str, *, ascii_only: bool = False) -> str:
    """Return the one-cell sign of a state."""
    return STATE_SIGNS.get(state, "  ")[1 if ascii_only else 0]
