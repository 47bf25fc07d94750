"""Leases: the numbers of claims, which say who may end an attempt and which process runs it.

A lease has 53 bits, so that it is exact in JSON for every reader: the number of the process (24), a
counter of its claims (20), and nine bits that are 0.  Workers of awa 0.5 count up from the lease
that they find, so a row that they have claimed has other low bits and names nobody; only after 512
such claims in a row, without one of ours, would it name a process again.
"""

from __future__ import annotations

from random import SystemRandom  # noqa: TID251 - a lease is no pause
from typing import Final

__all__ = ["LARGEST_PROCESS_NUMBER", "Leases", "new_lease", "new_process_number"]

_LOW_BITS: Final = 9
_COUNTER_BITS: Final = 20
# Leaves room below 2**53 for workers of awa 0.5, which count up; the table checks it too.
LARGEST_PROCESS_NUMBER: Final = 2**24 - 2
_LARGEST_LEASE: Final = 2**53 - 2**20
# Uses the system's random source, so forked processes get different numbers.
_random: Final = SystemRandom()


def new_lease() -> int:
    """Return a random lease that names no process."""
    return _random.randint(1, _LARGEST_LEASE) | 1


def new_process_number() -> int:
    """Return a random number for a process; the table of processes says whether it is free."""
    return _random.randint(1, LARGEST_PROCESS_NUMBER)


class Leases:
    """The leases of a process, each for one claim; they come again after a million."""

    def __init__(self) -> None:
        self.process: int | None = None
        """The number of the process; without one its leases name nobody."""
        self._claims = _random.getrandbits(_COUNTER_BITS)

    def next(self) -> int:
        """Return the lease of a claim."""
        if self.process is None:
            return new_lease()
        self._claims = (self._claims + 1) % 2**_COUNTER_BITS
        return (self.process << _COUNTER_BITS | self._claims) << _LOW_BITS
