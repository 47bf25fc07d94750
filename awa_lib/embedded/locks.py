"""File locks, which the kernel releases when their holder dies.

A lock belongs to an open file description, which a forked child shares.  So descriptors are
close-on-exec, a forked child closes its copies, and a lock is released only by closing: an explicit
unlock in a child would release the parent's lock too.
"""

from __future__ import annotations

import errno
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

__all__ = ["give_back", "hold", "is_held", "share"]

_POLL_SECONDS: Final = 0.005

_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}

_descriptors: set[int] = set()


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    _descriptors.add(descriptor)
    return descriptor


def give_back(descriptor: int) -> None:
    """Release the lock of ``share`` by closing its descriptor."""
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _leave_to_parent() -> None:
    while _descriptors:
        os.close(_descriptors.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def _try(descriptor: int, mode: int) -> bool:
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise EmbeddedError(
                "the embedded PostgreSQL cannot be used in this directory",
                why=f"its file system has no file locks ({error.strerror}), and processes need "
                "them to share a server",
                hint="name a directory on a local disk: embedded:PATH",
            ) from error
        raise
    return True


def _is_current(descriptor: int, path: Path) -> bool:
    """Return whether the locked file still has that name: ``reset`` deletes it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def hold(path: Path, *, seconds: float) -> Iterator[None]:
    """Hold a lock exclusively; wait for it at most ``seconds``.  Raises EmbeddedError."""
    until = time.monotonic() + seconds
    descriptor = _open(path)
    try:
        while not (_try(descriptor, fcntl.LOCK_EX) and _is_current(descriptor, path)):
            if not _is_current(descriptor, path):
                fresh = _open(path)
                give_back(descriptor)
                descriptor = fresh
            if time.monotonic() >= until:
                raise EmbeddedError(
                    f"the embedded PostgreSQL in {str(path.parent)!r} is busy",
                    why=f"another process has been starting or stopping it for {seconds:.0f} s",
                    hint="see which process holds the lock: fuser -v " + str(path),
                )
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        give_back(descriptor)


def share(path: Path) -> int:
    """Take a shared lock and return its descriptor, for ``give_back``.

    The supervisor holds it exclusively for microseconds, to test whether a client is left.
    """
    descriptor = _open(path)
    try:
        while not _try(descriptor, fcntl.LOCK_SH):
            time.sleep(_POLL_SECONDS)
    except BaseException:
        give_back(descriptor)
        raise
    return descriptor


def is_held(path: Path, *, shared: bool = False) -> bool:
    """Return whether a process holds the lock exclusively, or with ``shared`` in any mode."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # A shared probe where it is enough: two shared probes do not conflict.
        return not _try(descriptor, fcntl.LOCK_EX if shared else fcntl.LOCK_SH)
    finally:
        os.close(descriptor)
