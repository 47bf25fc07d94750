"""Links from a number of jobs to the list of these jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.web.pages._list_query import address
from awa_lib.states import COUNTED

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["counted_links", "tiles"]

_COUNTED: Final = {
    "available": ("available",),
    "running": ("running",),
    "failed": ("failed",),
    "later": ("scheduled", "retryable"),
    "waiting": ("waiting_external",),
}


def counted_links(name: str) -> dict[str, Callable[[Any], str | None]]:
    """Return the links of the numbers in a table, by column; ``name`` is ``queue`` or ``kind``."""
    return {title: _to_jobs(name, states) for title, states in _COUNTED.items()}


def _to_jobs(name: str, states: tuple[str, ...]) -> Callable[[Any], str | None]:
    def link(row: Any) -> str | None:
        if not sum(getattr(row, state) for state in states):
            return None
        return address({"state": states, name: [getattr(row, name)]})

    return link


def tiles(name: str, row: Any) -> list[tuple[str, int, str]]:
    """Return (state, number of jobs, address of their list) for a queue or a kind."""
    found = [
        (state, getattr(row, state), address({"state": [state], name: [getattr(row, name)]}))
        for state in COUNTED
    ]
    dead = address({name: [getattr(row, name)]}, "/dlq")
    return [*found, ("dead", row.dead_letters, dead)]
