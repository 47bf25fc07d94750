"""The access file of a running server: who is taken out of it is let in no more, at once."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from awa_cli.web.access import parse_access, read_access
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from awa_cli.web.access import Access

__all__ = ["AccessFile"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0


class AccessFile:
    """Who may come in, as the file says now: it is looked at once a second, while requests come.

    A file that cannot be used changes nothing: what it said last holds, and the log says why.
    One that lets nobody in is obeyed, for the last token may have been revoked.
    Raises InvalidInput where it cannot be used, or lets nobody in, at the start.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        # Before the file is read, so that what is written meanwhile is found at the next look.
        self._stamp = _stamp(path)
        self._looked = clock()
        self._access = read_access(path)

    def __call__(self) -> Access:
        """Return who may come in now."""
        at = self._clock()
        if at - self._looked >= _LOOK_SECONDS:
            self._looked = at
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
                "%s: %s; what it said before still holds until it is mended", error, error.why
            )
        else:
            logger.info("read the access file %s again", self._path)


def _stamp(path: Path) -> tuple[int, ...]:
    """Return what changes with every write of the file; nothing where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return ()
    # The mode is part of ctime: a file that others may write to no more is mended.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
