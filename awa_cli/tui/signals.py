"""Leave the terminal as it was, whichever signal ends the monitor."""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from textual.app import App

__all__ = ["restoring"]

_ENDING: Final = (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGINT)
# Time for a clean end.  A hung event loop does not begin one.
_PATIENCE_SECONDS: Final = 2.0
_RESET_SECONDS: Final = 0.5
# What Textual's drivers switch on: mouse reports, focus reports, pasted text, the keyboard protocol
# of kitty, synchronized output, a hidden cursor, the alternate screen.
_RESET: Final = (
    b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?1015l\x1b[?1016l"
    b"\x1b[?1004l\x1b[?2004l\x1b[<u\x1b[?2026l\x1b[?25h\x1b[?1049l\x1b[0m"
)


@contextmanager
def restoring(app: App[Any], loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """In the block a signal that ends the process exits the app, with status 128 + its number.

    An app that does not end is ended after two seconds; its terminal is restored then too.  To be
    used on the main thread.
    """
    terminal = sys.__stdin__.fileno() if sys.__stdin__ else 0
    before = termios.tcgetattr(terminal)

    def force(number: int) -> None:
        with suppress(OSError, termios.error):
            termios.tcsetattr(terminal, termios.TCSANOW, before)
        # A terminal that nobody reads takes nothing, and would keep the process for ever.
        reset = threading.Thread(target=_reset, daemon=True)
        reset.start()
        reset.join(_RESET_SECONDS)
        os._exit(128 + number)

    def end(number: int, _: object) -> None:
        late = threading.Timer(_PATIENCE_SECONDS, force, [number])
        late.daemon = True
        late.start()
        loop.call_soon_threadsafe(lambda: app.exit(return_code=128 + number))

    earlier = {number: signal.signal(number, end) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _reset() -> None:
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _RESET)
