"""Make the monitor from the options of the command line."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awa_cli.tui.navigation import PAGES
from awa_cli.tui.signals import restoring
from awa_lib.errors import InvalidInput, Unavailable
from awa_lib.validation import did_you_mean

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from awa_cli.database.target import Target
    from awa_cli.tui.app import Monitor
    from awa_lib.errors import AwaError

__all__ = [
    "check_screen",
    "make",
    "read_size",
    "run",
    "take_screenshot",
]

_DRIVER: Final = "TEXTUAL_DRIVER"

# A screenshot waits for the database for at most this long.
_SCREENSHOT_SECONDS: Final = 15.0
_MIN_COLUMNS: Final = 20
_MIN_LINES: Final = 5
# Rich links to fonts on another host; without them the SVG loads nothing.
_FONT: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def check_screen(name: str) -> str:
    """Return the name if it is a screen.  Raises InvalidInput."""
    names = [page.id for page in PAGES.values() if not page.needs_subject]
    if name in names:
        return name
    raise InvalidInput(
        f"no screen is named {name!r}",
        why=f"screens are {', '.join(names)}",
        hint=did_you_mean(name, names, "--screen "),
    )


def make(target: Target, url: str | None, *, theme: str | None, **options: Any) -> Monitor:
    """Make the monitor.  Raises InvalidInput for an unknown theme or binding."""
    from awa_cli.tui.app import Monitor

    # Without a handler, warnings go to stderr and draw over the screen.
    for name in ("psycopg", "awa_lib", "asyncio"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    monitor = Monitor(target, url, theme=theme, **options)
    if theme is not None and theme not in monitor.available_themes:
        names = sorted(monitor.available_themes)
        raise InvalidInput(
            f"no theme is named {theme!r}",
            why=f"themes are {', '.join(names)}",
            hint=did_you_mean(theme, names, "--theme "),
        )
    return monitor


def read_size(text: str) -> tuple[int, int]:
    """Parse ``160x45``: columns and lines.  Raises InvalidInput."""
    found = re.fullmatch(r"(\d{1,3})x(\d{1,3})", text)
    columns, lines = (int(found[1]), int(found[2])) if found else (0, 0)
    if columns < _MIN_COLUMNS or lines < _MIN_LINES:
        raise InvalidInput(
            f"--size {text!r} is not a size",
            hint=f"use COLUMNSxLINES, at least {_MIN_COLUMNS}x{_MIN_LINES}: --size 160x45",
        )
    return columns, lines


def _require_terminal() -> None:
    """Raise InvalidInput unless keys can be read and a screen be drawn."""
    served = _DRIVER in os.environ  # by awa tui --web: its driver needs no terminal
    for name, stream in (("stdin", sys.stdin), ("stdout", sys.stdout)):
        if not (served or stream.isatty()):
            raise InvalidInput(
                "the monitor needs a terminal",
                why=f"{name} is not one",
                hint="for a picture: awa tui --screenshot FILE.svg; for text: "
                "awa queue stats --watch",
            )


def run(monitor: Monitor, record_to: str | None = None) -> int:
    """Run the monitor until it exits, leave the terminal as it was, and return the exit status.

    Raises InvalidInput without a terminal, and the exception that ended it.
    """
    _require_terminal()
    if record_to is not None:
        _record(monitor, record_to)

    async def attended() -> None:
        with restoring(monitor, asyncio.get_running_loop()):
            await monitor.run_async()

    if _DRIVER in os.environ:
        monitor.run()
    else:
        asyncio.run(attended())
    if monitor.fault is not None:
        raise monitor.fault
    return monitor.return_code or 0


def _record(monitor: Monitor, path: str) -> None:
    """Have the monitor record its output to a file.  Raises InvalidInput."""
    from awa_cli.tui.asciicast import recorder

    size = shutil.get_terminal_size()
    monitor.driver_class = recorder(monitor.driver_class, path, (size.columns, size.lines))


def take_screenshot(monitor: Monitor, path: str, size: tuple[int, int]) -> None:
    """Draw the first screen without a terminal and write it to an SVG file.

    Raises the error of the first read, the exception that ended the monitor, or InvalidInput if the
    file cannot be written.
    """
    failed: list[AwaError] = []
    drawn: list[str] = []

    async def draw(pilot: Pilot[Any]) -> None:
        try:
            async with asyncio.timeout(_SCREENSHOT_SECONDS):
                while not (page := monitor.page) or not page.settled:
                    if page is not None and page.error is not None:
                        failed.append(page.error)
                        break
                    await asyncio.sleep(0.05)
        except TimeoutError:
            failed.append(Unavailable(f"{monitor.source.target.label} did not answer in time"))
        await pilot.pause()
        drawn.append(_FONT.sub("", monitor.export_screenshot(title="awa tui")))
        monitor.exit()

    monitor.run(headless=True, size=size, auto_pilot=draw)
    if monitor.fault is not None:
        raise monitor.fault
    if failed:
        raise failed[0]
    try:
        Path(path).write_text("".join(drawn), encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{path!r} cannot be written", why=str(error.strerror).lower()) from None
