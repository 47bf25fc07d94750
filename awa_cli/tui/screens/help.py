"""The help: the bindings of the screen that it was opened from."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult
    from textual.binding import ActiveBinding

    from awa_cli.tui.host import Host

__all__ = ["HelpScreen"]


# The help has two columns where both fit.
_TWO_COLUMNS: Final = 140
_KEYS_WIDTH: Final = 14
# Moves of the cursor come last: who asks for help looks for what can be done.
_MOVES: Final = ("grid.", "tile.", "alerts.down", "alerts.up", "alerts.left", "alerts.right")


class HelpScreen(ModalScreen[None]):
    """Keys and what they do; ``i`` shows the ids under which the config file sets them."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("escape,q,question_mark", "dismiss", "Close", id="help.close"),
        Binding("i", "ids", "Ids", id="help.ids", tooltip="Show how to change the keys"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, active: Mapping[str, ActiveBinding]) -> None:
        super().__init__()
        self._active = active
        self._ids = False

    def compose(self) -> ComposeResult:
        """Lay out the keys."""
        with VerticalScroll(classes="help"), Horizontal(id="help-columns"):
            yield Static(id="help-text")
            yield Static(id="help-more")

    def on_mount(self) -> None:
        """Show the keys."""
        self._draw()

    def on_resize(self) -> None:
        """Use one column or two."""
        self._draw()

    def _draw(self) -> None:
        sections = {title: self._lines(title, rows) for title, rows in self._sections().items()}
        own = sections.pop("This screen", [])
        rest = [line for lines in sections.values() for line in lines]
        rest += self._how()
        two = self.app.size.width >= _TWO_COLUMNS
        self.set_class(two, "-two")
        first, second = (own, rest) if two else ([*own, *rest], [])
        self.query_one("#help-text", Static).update(Content("\n").join(first))
        self.query_one("#help-more", Static).update(Content("\n").join(second))

    def _lines(self, title: str, rows: dict[str, tuple[list[str], str]]) -> list[Content]:
        lines = [Content.styled(title, "bold $text-accent")]
        for binding_id, (keys, words) in rows.items():
            more = (f"  {binding_id}", "$quiet") if self._ids else ""
            shown = (f"  {' '.join(keys):<{_KEYS_WIDTH}} ", "$text-primary")
            lines.append(Content.assemble(shown, words, more))
        return [*lines, Content("")]

    def _how(self) -> list[Content]:
        if not self._ids:
            return [Content.styled("i shows how to change a key", "$quiet")]
        return [
            Content.styled(
                "To change a key, add its id to [tui.keys] in the config file:", "$quiet"
            ),
            Content.styled('"queue.pause" = "P"', "$quiet"),
        ]

    def _sections(self) -> dict[str, dict[str, tuple[list[str], str]]]:
        found: dict[str, dict[str, tuple[list[str], str]]] = {
            "This screen": {},
            "Go to": {},
            "Every screen": {},
        }
        for key, active in sorted(self._active.items(), key=self._order):
            binding = active.binding
            if not binding.id or not binding.description:
                continue
            section = "Every screen" if active.node is self.app else "This screen"
            if binding.id.startswith("go."):
                section = "Go to"
            words = binding.tooltip or binding.description
            keys, _ = found[section].setdefault(binding.id, ([], words))
            keys.append(self.app.get_key_display(binding.with_key(key)))
        return {title: rows for title, rows in found.items() if rows}

    def _order(self, item: tuple[str, ActiveBinding]) -> bool:
        return (item[1].binding.id or "").startswith(_MOVES)

    def action_ids(self) -> None:
        """Show or hide the ids of the bindings."""
        self._ids = not self._ids
        self._draw()

    def action_scroll(self, step: int) -> None:
        """Scroll by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=step, animate=False)
