"""Keys that work on every page, and the check of the keys that the config file sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from textual.binding import Binding

from awa_cli.tui.navigation import PAGES
from awa_lib.errors import InvalidInput
from awa_lib.validation import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["APP_BINDINGS", "check_keys", "known_ids"]

APP_BINDINGS: Final[list[Binding]] = [
    *[
        Binding(page.keys, f"go('{page.id}')", page.title, show=False, id=f"go.{page.id}")
        for page in PAGES.values()
        if page.keys
    ],
    Binding("question_mark,f1", "help", "Help", id="app.help"),
    Binding(
        "colon,ctrl+p",
        "command_palette",
        "Commands",
        id="app.palette",
        tooltip="Find a command or a screen by name",
    ),
    Binding(
        "escape",
        "out",
        "Leave",
        show=False,
        id="app.out",
        tooltip="Go back to the screen above",
    ),
    Binding(
        "left_square_bracket,alt+left",
        "back",
        "Back",
        show=False,
        id="app.back",
        tooltip="Go to the screen before",
    ),
    Binding(
        "right_square_bracket,alt+right",
        "forward",
        "Forward",
        show=False,
        id="app.forward",
        tooltip="Go to the screen after, once back",
    ),
    Binding(
        "m",
        "mark_page",
        "Mark this screen",
        show=False,
        id="app.mark",
        tooltip="Mark this screen, to jump back to it",
    ),
    Binding("apostrophe", "jump", "Jump to a mark", show=False, id="app.jump"),
    Binding(
        "u",
        "undo",
        "Undo",
        show=False,
        id="app.undo",
        tooltip="Undo the last change, if it can be undone",
    ),
    Binding(
        "ctrl+r,f5",
        "reread",
        "Refresh",
        show=False,
        id="app.reread",
        tooltip="Read the data again now",
    ),
    Binding(
        "ctrl+k",
        "contexts",
        "Switch database",
        show=False,
        id="app.contexts",
        tooltip="Show another database of the config file",
    ),
    Binding("ctrl+t", "themes", "Theme", show=False, id="app.themes"),
    Binding(
        "ctrl+z",
        "suspend_process",
        "Suspend",
        show=False,
        priority=True,
        id="app.suspend",
        tooltip="Go to the shell; fg comes back",
    ),
    Binding("q", "quit", "Quit", id="app.quit"),
    Binding("ctrl+q,ctrl+c", "quit", "Quit", show=False, priority=True),
]


def known_ids() -> set[str]:
    """Return the ids of all bindings; imports every screen."""
    from awa_cli.tui.screens import every_binding

    return {one.id for one in [*APP_BINDINGS, *every_binding()] if one.id}


def check_keys(keys: Mapping[str, str], known: Iterable[str]) -> None:
    """Check the keys of the config file.  Raises InvalidInput for an unknown id or an empty key."""
    names = sorted(known)
    for name, value in keys.items():
        if name in names and value.strip():
            continue
        raise InvalidInput(
            f"tui.keys.{name} in the config file sets no key",
            why="its value is empty" if name in names else "no binding has this id",
            hint=did_you_mean(name, names)
            or "press ? and then i in awa tui for the ids of all bindings",
        )
