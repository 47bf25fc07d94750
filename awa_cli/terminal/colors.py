"""Colours and links, for terminals that support them."""

from __future__ import annotations

import os
import re
from typing import Final

__all__ = ["Paint", "without_links"]

_CODES: Final = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "bright_black": "90",
}
_URL: Final = re.compile(r"https?://[!-~]+")
_LINK: Final = re.compile(r"\x1b\]8;;[^\x1b]*\x1b\\")


class Paint:
    """Styles text if the output takes colours, else returns it unchanged."""

    def __init__(self, *, color: bool) -> None:
        self.color = color
        # The Linux console prints unknown sequences as text.
        self.links = color and os.environ.get("TERM") != "linux"

    def __call__(self, text: str, style: str) -> str:
        """Return the text in a style, words like ``bold red``."""
        codes = ";".join(_CODES[word] for word in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m" if self.color and codes else text

    def link(self, text: str, url: str | None) -> str:
        """Return the text as a link that terminals open.

        The address comes from the database and is not trusted: only plain URLs become links.
        """
        if not self.links or url is None or not _URL.fullmatch(url):
            return text
        return f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\"


def without_links(text: str) -> str:
    """Remove links, which older pagers cannot show."""
    return _LINK.sub("", text)
