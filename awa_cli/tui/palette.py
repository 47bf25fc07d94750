"""The command palette: every page, and every binding of the current screen."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, cast

from textual.command import DiscoveryHit, Hit, Provider

from awa_cli.tui.navigation import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from textual.command import Hits

    from awa_cli.tui.host import Host

__all__ = ["Palette"]

# Bindings that are no commands: moves of the cursor, and pages, which are added below.
_EXCLUDED_IDS: Final = ("go.", "grid.", "tile.", "app.palette")
_EXCLUDED_ACTIONS: Final = ("scroll(", "edge(", "move(", "app.focus_")


class Palette(Provider):
    """Commands by name."""

    def _commands(self) -> Iterator[tuple[str, str, Callable[[], object]]]:
        app = cast("Host", self.app)
        seen = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if not binding.id or binding.id in seen or not active.enabled:
                continue
            if binding.id.startswith(_EXCLUDED_IDS) or binding.action.startswith(_EXCLUDED_ACTIONS):
                continue
            seen.add(binding.id)
            run = partial(app.run_action, binding.action, active.node)
            yield binding.description, app.get_key_display(binding), run
        for page in PAGES.values():
            if not page.needs_subject:
                keys = page.keys.replace(",", ", ")
                yield f"Go to {page.title}", keys, partial(app.run_action, f"go('{page.id}')")

    async def discover(self) -> Hits:
        """Yield all commands before anything is typed."""
        for name, keys, run in self._commands():
            yield DiscoveryHit(name, run, help=keys)

    async def search(self, query: str) -> Hits:
        """Yield the commands that match."""
        matcher = self.matcher(query)
        for name, keys, run in self._commands():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), run, help=keys)
