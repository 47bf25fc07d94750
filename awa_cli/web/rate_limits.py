"""How much and how fast: token buckets, and bodies that are too long or too slow."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from awa_cli.web.problems import Refused

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

__all__ = ["Buckets", "bounded"]

_MOST_BUCKETS: Final = 10_000
_BODY_SECONDS: Final = 20.0


class Buckets:
    """One token bucket for each key: ``rate`` a second, ``burst`` at once.

    Keys are many and chosen by strangers, so the ones not used for longest are forgotten.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Take a token; return False when there is none."""
        now = time.monotonic()
        left, then = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _MOST_BUCKETS:
            self._left.popitem(last=False)
        return left >= 1

    def require(self, key: str, what: str) -> None:
        """Take a token.  Raises Refused (429)."""
        if not self.take(key):
            wait = max(1, round(1 / self._rate))
            raise Refused(
                429,
                f"too many {what}",
                f"at most {self._rate:g} a second, {self._burst:g} at once",
                f"wait {wait} s and send fewer",
                {"Retry-After": str(wait)},
            )


def bounded(scope: Scope, receive: Receive, most: int) -> Receive:
    """Return a receive that ends with Refused: 413 for a long body, 408 for a slow one."""
    length = next((v for k, v in scope["headers"] if k == b"content-length"), b"")
    if length.isdigit() and int(length[:20]) > most:
        raise _too_long(most)
    seen = 0
    over = False
    until = time.monotonic() + _BODY_SECONDS

    async def take() -> Message:
        nonlocal seen, over
        if over:
            # Later messages say that the client has left, which may take long and is no fault.
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise Refused(
                408,
                "the body did not arrive in time",
                f"it may take {_BODY_SECONDS:g} s",
                "send it faster",
                {"Connection": "close"},
            ) from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            over = not message.get("more_body", False)
            if seen > most:
                raise _too_long(most)
        return message

    return take


def _too_long(most: int) -> Refused:
    return Refused(
        413,
        "the body is too long",
        f"at most {most} bytes are read",
        "send less at once",
        {"Connection": "close"},
    )
