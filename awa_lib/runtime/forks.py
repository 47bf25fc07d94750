"""Keep forked children of a worker from acting for their parent.

A handler may fork (``multiprocessing``, ``ProcessPoolExecutor``, ``os.fork``).  The child inherits
what belongs to the worker: the event loop's signal handlers and wakeup descriptor (a SIGTERM for
the child would stop the parent), and the sockets of its sessions (a child that survives a killed
worker would keep its locks, including the leader's, and its port).

Usage::

    with forks.guard(signal.SIGTERM, signal.SIGINT):   # run.serve: the signals that it handles
        ...
    with forks.guard():                                # a worker inside another program
        ...
    forks.own(sock)                                    # any other socket of this process only

Inside a guard each child gets the default actions of those signals, no wakeup descriptor, and
``/dev/null`` in place of every connection of ``db.connect`` and every socket of ``own``.  Nothing
is sent to the server.  Outside a guard nothing changes.  Programs that are started with
``subprocess`` are not affected; they do not inherit these descriptors.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

import psycopg

from awa_lib.db.connect import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["guard", "own"]


class _Open(Protocol):
    def fileno(self) -> int:
        """Return the descriptor."""
        ...


_guards: list[tuple[signal.Signals, ...]] = []
_owned: WeakSet[_Open] = WeakSet()
_masks = threading.local()


def own(resource: _Open) -> None:
    """Keep a socket from the children for as long as it exists."""
    _owned.add(resource)


@contextmanager
def guard(*signals: signal.Signals) -> Iterator[None]:
    """Guard the process inside the block; ``signals`` are those that the caller handles."""
    _guards.append(signals)
    try:
        yield
    finally:
        _guards.remove(signals)


def _before() -> None:
    # A signal that reaches the child before it has its own handlers would go to the parent.
    numbers = {number for signals in _guards for number in signals}
    _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers) if numbers else None


def _unblock() -> None:
    if (before := getattr(_masks, "before", None)) is not None:
        _masks.before = None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_child() -> None:
    if not _guards:
        return
    numbers = {number for signals in _guards for number in signals}
    _guards.clear()
    if numbers:
        signal.set_wakeup_fd(-1)
    for number in numbers:
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, default)
    _replace_sockets()
    _unblock()


def _replace_sockets() -> None:
    """Put ``/dev/null`` in place of the parent's sockets.

    If they were closed, other files would get their numbers, and a late close would close those.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for resource in (*opened, *_owned):
        try:
            os.dup2(null, resource.fileno(), inheritable=False)
        except (OSError, ValueError, psycopg.Error):
            continue  # closed already
    os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_in_child)
