"""File locks that the kernel drops when their holder dies.

Every lock belongs to one open file description.  Descriptors are close-on-exec, and ``server``
closes them in forked children; nothing here ever unlocks other than by closing, because an
explicit unlock in a forked child would take the lock from its parent as well.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from awa_lib.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["hold", "is_held", "share"]

_POLL_SECONDS: Final = 0.005


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _try(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(descriptor: int, path: Path) -> bool:
    """Say whether the locked file still is the one of that name: ``reset`` deletes it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def hold(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold a lock exclusively, waiting for it at most so long.  Raises EmbeddedError."""
    until = time.monotonic() + seconds
    descriptor = _open(path)
    try:
        while not (_try(descriptor, fcntl.LOCK_EX) and _is_current(descriptor, path)):
            if not _is_current(descriptor, path):
                fresh = _open(path)
                os.close(descriptor)
                descriptor = fresh
            if time.monotonic() >= until:
                raise EmbeddedError(
                    f"the embedded PostgreSQL in {str(path.parent)!r} is busy",
                    why=f"another process has been starting or stopping it for {seconds:.0f} s",
                    hint="look who holds the lock: fuser -v " + str(path),
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def share(path: Path) -> int:
    """Take a shared lock and return its descriptor; closing it gives the lock back.

    Others hold it exclusively for microseconds at a time, to look whether anybody is left.
    """
    descriptor = _open(path)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def is_held(path: Path, *, shared: bool = False) -> bool:
    """Say whether somebody holds the lock: exclusively, or with ``shared`` in whatever way."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # A shared probe, where it is enough, because two of them never see each other.
        return not _try(descriptor, fcntl.LOCK_EX if shared else fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
