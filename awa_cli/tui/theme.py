"""Colours: the awa themes, and the styles of ``columns`` in the colours of any theme."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color
from textual.theme import Theme

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DARK", "LIGHT", "Paint", "shades"]

# Shares of the text colour in its blend with the background.
_QUIET: Final = 0.6
_FAINT: Final = 0.4

DARK: Final = Theme(
    name="awa-dark",
    primary="#7aa2f7",
    secondary="#9d7cd8",
    accent="#2ac3de",
    foreground="#c8d3f5",
    background="#12141c",
    surface="#171a25",
    panel="#1f2335",
    success="#9ece6a",
    warning="#e0af68",
    error="#f7768e",
    dark=True,
    variables={
        "footer-key-foreground": "#7aa2f7",
        "footer-background": "#171a25",
        "input-selection-background": "#7aa2f7 35%",
        "block-cursor-background": "#2f3a5f",
        "block-cursor-foreground": "#e6ebff",
        "block-cursor-text-style": "bold",
        "border": "#7aa2f7",
        "border-blurred": "#2a2f45",
    },
)
LIGHT: Final = Theme(
    name="awa-light",
    primary="#2f5bbd",
    secondary="#7446b3",
    accent="#00758f",
    foreground="#22283a",
    background="#fbfbfd",
    surface="#f3f4f8",
    panel="#e8eaf1",
    success="#3c7a1e",
    warning="#8f5e00",
    error="#c22848",
    dark=False,
    variables={
        "footer-key-foreground": "#2f5bbd",
        "footer-background": "#f3f4f8",
        "input-selection-background": "#2f5bbd 25%",
        "block-cursor-background": "#cfdaf5",
        "block-cursor-foreground": "#10152a",
        "block-cursor-text-style": "bold",
        "border": "#2f5bbd",
        "border-blurred": "#d3d7e3",
    },
)
# Colour names in the styles of ``columns``, and the theme variables that replace them.
_ROLES: Final = {
    "red": "error",
    "green": "success",
    "yellow": "warning",
    "blue": "primary",
    "cyan": "accent",
    "magenta": "secondary",
    "bright_black": "quiet",
}


def shades(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the colours ``quiet`` and ``faint``, for text that matters less and least."""
    background = Color.parse(variables["background"])
    text = Color.parse(variables["foreground"])
    return {
        "quiet": background.blend(text, _QUIET).hex,
        "faint": background.blend(text, _FAINT).hex,
    }


class Paint:
    """Converts a style like ``bold red`` to the colours of a theme."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._colors = {name: variables[role] for name, role in _ROLES.items()}
        self._made: dict[str, Style] = {}

    def __call__(self, words: str) -> Style:
        """Return the Rich style; an empty style for an empty text."""
        if words not in self._made:
            self._made[words] = self._style(words)
        return self._made[words]

    def css(self, words: str) -> str:
        """Return the style in Textual's markup, for ``Content``."""
        return " ".join(self._colors.get(word, word) for word in words.split())

    def _style(self, words: str) -> Style:
        bold = dim = False
        color = None
        for word in words.split():
            bold, dim = bold or word == "bold", dim or word == "dim"
            if word in self._colors:
                color = RichColor.parse(Color.parse(self._colors[word]).hex6)
        return Style(color=color, bold=bold or None, dim=dim or None)
