"""Keys that work everywhere, and keys that the config file binds anew."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from textual.binding import Binding

from awa_cli.tui.navigation import PLACES
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["EVERYWHERE", "check_keys", "known_ids"]

EVERYWHERE: Final[list[Binding]] = [
    *[
        Binding(place.keys, f"go('{place.id}')", place.title, show=False, id=f"go.{place.id}")
        for place in PLACES.values()
        if place.keys
    ],
    Binding("question_mark,f1", "help", "Help", id="app.help"),
    Binding("colon,ctrl+p", "command_palette", "Commands", id="app.palette"),
    Binding("escape", "out", "Out", show=False, id="app.out"),
    Binding("left_square_bracket,alt+left", "back", "Back", show=False, id="app.back"),
    Binding("right_square_bracket,alt+right", "forward", "Forward", show=False, id="app.forward"),
    Binding("m", "mark_place", "Mark this place", show=False, id="app.mark"),
    Binding("apostrophe", "jump", "Jump to a mark", show=False, id="app.jump"),
    Binding("u", "undo", "Undo", show=False, id="app.undo"),
    Binding("ctrl+r,f5", "reread", "Read now", show=False, id="app.reread"),
    Binding("ctrl+k", "contexts", "Other database", show=False, id="app.contexts"),
    Binding("ctrl+t", "themes", "Theme", show=False, id="app.themes"),
    Binding("q", "quit", "Quit", id="app.quit"),
    Binding("ctrl+q,ctrl+c", "quit", "Quit", show=False, priority=True),
]


def known_ids() -> set[str]:
    """Return the names of every binding, of all screens; loads them all."""
    from awa_cli.tui.screens import every_binding

    return {one.id for one in [*EVERYWHERE, *every_binding()] if one.id}


def check_keys(keys: Mapping[str, str], known: Iterable[str]) -> None:
    """Check what the config file binds.  Raises InvalidInput for a name that binds nothing."""
    names = sorted(known)
    for name, value in keys.items():
        if name in names and value.strip():
            continue
        close = get_close_matches(name, names, n=1)
        raise InvalidInput(
            f"tui.keys.{name} in the config file binds nothing",
            why="it has no key" if name in names else "no binding has this name",
            hint=f"did you mean {close[0]!r}?" if close else "the help of awa tui names them: ?",
        )
