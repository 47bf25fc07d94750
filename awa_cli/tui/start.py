"""Make the monitor from what the command line says."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from awa_cli.tui.places import PLACES
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from awa_cli.target import Target
    from awa_cli.tui.app import Monitor

__all__ = ["check_screen", "make"]


def check_screen(name: str) -> str:
    """Return the id of a screen.  Raises InvalidInput."""
    names = [place.id for place in PLACES.values() if not place.needs_subject]
    if name in names:
        return name
    close = get_close_matches(name, names, n=1)
    raise InvalidInput(
        f"no screen is named {name!r}",
        why=f"screens are {', '.join(names)}",
        hint=f"did you mean: --screen {close[0]}" if close else None,
    )


def make(target: Target, url: str | None, *, theme: str | None, **options: Any) -> Monitor:
    """Make the monitor.  Raises InvalidInput for an unknown theme or binding."""
    from awa_cli.tui.app import Monitor

    monitor = Monitor(target, url, theme=theme, **options)
    if theme is not None and theme not in monitor.available_themes:
        names = sorted(monitor.available_themes)
        close = get_close_matches(theme, names, n=1)
        raise InvalidInput(
            f"no theme is named {theme!r}",
            why=f"themes are {', '.join(names)}",
            hint=f"did you mean: --theme {close[0]}" if close else None,
        )
    return monitor
