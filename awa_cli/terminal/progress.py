"""The progress of a long change, on one line of stderr."""

from __future__ import annotations

import sys
import time
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import Self

    from awa_cli.invocation import Common

__all__ = ["Progress"]

_DELAY_SECONDS: Final = 1.0
_REDRAW_SECONDS: Final = 0.1
_BAR_CELLS: Final = 24


class Progress:
    """A bar if the total is known, else a count, else the elapsed time.

    It is drawn after one second, at a terminal and without --quiet, and erased at the end.
    """

    def __init__(self, options: Common, thing: str = "job") -> None:
        self._shown = sys.stderr.isatty() and not options.quiet
        self._thing = thing
        self._began = time.monotonic()
        self._done: int | None = None
        self._total: int | None = None
        self._over = Event()
        self._lock = Lock()
        self._drawn = False
        self._drawer = Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Self:
        if self._shown:
            self._drawer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._shown:
            self._drawer.join()
        self._clear()

    def show(self, done: int, total: int | None = None) -> None:
        """Set the number done, and the total if it is known."""
        self._done, self._total = done, total

    def say(self, text: str) -> None:
        """Print a remark above the bar."""
        from awa_cli.terminal.output import say

        with self._lock:
            self._clear()
            say(text)

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
        self._drawn = False

    def _draw(self) -> None:
        wait = _DELAY_SECONDS
        while not self._over.wait(wait):
            with self._lock:
                sys.stderr.write(f"\r{self.line(time.monotonic() - self._began)}\x1b[K")
                sys.stderr.flush()
                self._drawn = True
            wait = _REDRAW_SECONDS

    def line(self, seconds: float) -> str:
        """Return the line to draw after a number of seconds."""
        from awa_cli.views.words import counted, span

        if self._done is None:
            return f"working, {span(seconds)}"
        if self._total is None:
            return f"{counted(self._done, self._thing)}, {self._done / seconds:,.0f}/s"
        share = min(self._done / max(self._total, 1), 1)
        filled = round(_BAR_CELLS * share)
        full, empty = "█░" if (sys.stderr.encoding or "").lower().startswith("utf") else "#-"
        bar = full * filled + empty * (_BAR_CELLS - filled)
        return f"{bar} {share:>4.0%}  {self._done:,} of {counted(self._total, self._thing)}"
