"""The access file of a running server, reread within a second of a change."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from awa_cli.access import parse_access, read_access
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from awa_cli.access import Access

__all__ = ["AccessFile"]

logger = logging.getLogger(__name__)

_CHECK_SECONDS: Final = 1.0


class AccessFile:
    """The present contents of an access file, checked for changes at most once a second.

    A changed file that is invalid is ignored: its last contents stay in effect, and the log says
    why.  An empty file is obeyed, since the last token may have been revoked.
    Raises InvalidInput if the file is invalid or empty at the start.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        # Taken before the file is read, so that the next check finds a write made meanwhile.
        self._stamp = _stamp(path)
        self._checked = clock()
        self._access = read_access(path)

    def __call__(self) -> Access:
        """Return the present access rules."""
        now = self._clock()
        if now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp = stamp
                self._read()
        return self._access

    def _read(self) -> None:
        try:
            self._access = parse_access(self._path)
        except InvalidInput as error:
            logger.warning(
                "%s: %s; its previous contents stay in effect until it is fixed", error, error.why
            )
        else:
            logger.info("reread the access file %s", self._path)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return values that change with every write of the file; empty if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return ()
    # ctime changes with the mode too: a file that was writable by others may be fixed.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
