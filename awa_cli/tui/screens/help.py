"""The help: the bindings of the screen that it was opened from."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.app import ComposeResult
    from textual.binding import ActiveBinding

    from awa_cli.tui.host import Host

__all__ = ["HelpScreen"]


class HelpScreen(ModalScreen[None]):
    """Keys, what they do, and the ids under which the config file sets them."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("escape,q,question_mark", "dismiss", "Close", id="help.close"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, active: Mapping[str, ActiveBinding]) -> None:
        super().__init__()
        self._active = active

    def compose(self) -> ComposeResult:
        """Lay out the keys."""
        with VerticalScroll(classes="help"):
            yield Static(self._text(), id="help-text")

    def _text(self) -> Content:
        lines: list[Content] = []
        for title, rows in self._sections().items():
            lines += [Content(""), Content.styled(title, "bold $text-accent")]
            for binding_id, (keys, description) in rows.items():
                lines.append(
                    Content.assemble(
                        (f"  {' '.join(keys):<16}", "$text-primary"),
                        f"{description:<24}",
                        (f"  {binding_id}", "$quiet"),
                    )
                )
        lines += [
            Content(""),
            Content.styled(
                "  To change a key, add its id to [tui.keys] in the config file:", "dim"
            ),
            Content.styled('  "queue.pause" = "P"', "dim"),
        ]
        return Content("\n").join(lines[1:])

    def _sections(self) -> dict[str, dict[str, tuple[list[str], str]]]:
        found: dict[str, dict[str, tuple[list[str], str]]] = {"This screen": {}, "Go to": {}}
        for key, active in self._active.items():
            binding = active.binding
            if not binding.id or not binding.description:
                continue
            section = "Every screen" if active.node is self.app else "This screen"
            if binding.id.startswith("go."):
                section = "Go to"
            rows = found.setdefault(section, {})
            keys, _ = rows.setdefault(binding.id, ([], binding.description))
            keys.append(self.app.get_key_display(binding.with_key(key)))
        return found

    def action_scroll(self, step: int) -> None:
        """Scroll by a line."""
        self.query_one(VerticalScroll).scroll_relative(y=step, animate=False)
