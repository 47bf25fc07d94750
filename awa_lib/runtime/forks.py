"""A forked child of a worker never speaks for its parent.

A handler may fork (``multiprocessing``, ``ProcessPoolExecutor``, ``os.fork``).  The child inherits
what belongs to the worker: the event loop's signal handlers and wakeup descriptor (a SIGTERM for
the child would stop the parent), and the sockets of its sessions (a killed worker's surviving child
would keep its locks, the leader's among them, and its port).

How it is used::

    with forks.guard(signal.SIGTERM, signal.SIGINT):   # run.serve: the signals it has handlers for
        ...
    with forks.guard():                                # a worker inside another program
        ...
    forks.own(sock)                                    # any other socket that only we may hold

While a guard is held, each child gets the default actions of those signals, no wakeup descriptor,
and ``/dev/null`` in the place of every connection of ``db.connect`` and every socket of ``own``.
Nothing is sent to the server.  Outside of a guard nothing changes: a program that opens a client
and forks does what it did.  Programs that are started (``subprocess``) are not touched; they do
not inherit those descriptors.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

import psycopg

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
    """Keep a socket from the children, as long as it lives."""
    _owned.add(resource)


@contextmanager
def guard(*signals: signal.Signals) -> Iterator[None]:
    """Guard the process inside the block; ``signals`` are those the caller has handlers for."""
    _guards.append(signals)
    try:
        yield
    finally:
        _guards.remove(signals)


def _before() -> None:
    # A signal that came before the child has its own handlers would reach the parent.
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
    _let_go()
    _unblock()


def _let_go() -> None:
    """Put ``/dev/null`` in the place of our sockets.

    A number that were free would go to another file, which a late close would hit.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for resource in tuple(_owned):
        try:
            os.dup2(null, resource.fileno(), inheritable=False)
        except (OSError, ValueError, psycopg.Error):
            continue  # closed already
    os.close(null)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_unblock, after_in_child=_in_child)
