"""The present time by the clock of the database: that of this host may be wrong.

Moments in the database were written by its clock, so ages and "in 10 minutes" are meant by it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ask_with", "asked", "follow", "is_old", "now"]

# A smaller difference is as likely the way of the answer.
_SAME: Final = timedelta(seconds=2)
_OLD_SECONDS: Final = 60.0


class _Clock:
    ahead = timedelta()
    read_at: float | None = None
    ask: Callable[[], object] | None = None


def now() -> datetime:
    """Return the present time, from which ages are computed."""
    return datetime.now(UTC) + _Clock.ahead


def asked() -> datetime:
    """Return the present time for the database; ask it first if nothing else has."""
    ask, _Clock.ask = _Clock.ask, None
    if ask is not None:
        with suppress(AwaError):  # the command itself will say it
            ask()
    return now()


def ask_with(ask: Callable[[], object]) -> None:
    """Set what connects to the database, if the time is needed before that."""
    _Clock.ask = ask


def follow(moment: datetime) -> None:
    """Go by the database, which has just said that it is this moment."""
    ahead = moment - datetime.now(UTC)
    _Clock.ahead = ahead if abs(ahead) > _SAME else timedelta()
    _Clock.read_at, _Clock.ask = time.monotonic(), None


def is_old() -> bool:
    """Return whether it is time to ask the database: either clock may be set."""
    return _Clock.read_at is None or time.monotonic() - _Clock.read_at > _OLD_SECONDS
