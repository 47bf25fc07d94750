"""Record the output of the monitor as asciicast v2: ``asciinema play FILE``."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import IO, TYPE_CHECKING

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from textual.driver import Driver

__all__ = ["recorder"]


def recorder(driver: type[Driver], path: str, size: tuple[int, int]) -> type[Driver]:
    """Return a driver that also writes to a file.  Raises InvalidInput if it cannot be opened."""
    try:
        file: IO[str] = open(path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115, PTH123 - closed with the driver
    except OSError as error:
        raise InvalidInput(f"{path!r} cannot be written", why=str(error.strerror).lower()) from None
    began = time.monotonic()
    head = {"version": 2, "width": size[0], "height": size[1], "timestamp": int(time.time())}
    env = {"TERM": os.environ.get("TERM", "xterm-256color")}
    file.write(json.dumps({**head, "title": "awa tui", "env": env}) + "\n")

    class Recorder(driver):  # type: ignore[valid-type, misc] # the base depends on the platform
        shown = size

        def write(self, data: str) -> None:
            super().write(data)
            if (now := shutil.get_terminal_size()) != self.shown:
                self.shown = (now.columns, now.lines)
                self._write_event("r", f"{now.columns}x{now.lines}")
            self._write_event("o", data)

        def _write_event(self, code: str, data: str) -> None:
            moment = round(time.monotonic() - began, 6)
            file.write(json.dumps([moment, code, data], ensure_ascii=False) + "\n")

        def close(self) -> None:
            super().close()
            file.close()

    return Recorder
