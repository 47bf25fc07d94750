"""The command palette: every place, and every binding that works where one is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from textual.command import DiscoveryHit, Hit, Provider

from awa_cli.tui.navigation import PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from textual.command import Hits

    from awa_cli.tui.app import Monitor

__all__ = ["Palette"]

# Whoever types a name does not mean a step of the cursor.
_MOVES: Final = ("go.", "grid.", "tile.", "app.palette")


class Palette(Provider):
    """What can be done, by name."""

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        app = cast("Monitor", self.app)
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            name = binding.id or "grid."
            if name in seen or name.startswith(_MOVES) or not active.enabled:
                continue
            seen.add(name)
            run = partial(app.run_action, binding.action, active.node)
            yield binding.description, app.get_key_display(binding), run
        for place in PLACES.values():
            if not place.needs_subject:
                keys = place.keys.replace(",", ", ")
                yield f"Go to {place.title}", keys, partial(app.action_go, place.id)

    async def discover(self) -> Hits:
        """Show all before anything is typed."""
        for name, keys, run in self._commands():
            yield DiscoveryHit(name, run, help=keys)

    async def search(self, query: str) -> Hits:
        """Show what fits."""
        matcher = self.matcher(query)
        for name, keys, run in self._commands():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), run, help=keys)
