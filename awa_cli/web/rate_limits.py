"""Rate limits by token buckets, and limits on the size and duration of a body."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from awa_cli.web.problems import Refused

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

__all__ = ["Buckets", "bounded"]

_MAX_BUCKETS: Final = 10_000
_BODY_SECONDS: Final = 20.0


class Buckets:
    """A token bucket for each key: ``rate`` a second, ``burst`` at once.

    Clients choose the keys, so the number of buckets is limited: the least recently used are
    forgotten.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Take a token; return False if there is none."""
        now = time.monotonic()
        left, then = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        self._left[key] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _MAX_BUCKETS:
            self._left.popitem(last=False)
        return left >= 1

    def require(self, key: str, what: str) -> None:
        """Take a token.  Raises Refused (429) if there is none."""
        if not self.take(key):
            wait = max(1, round(1 / self._rate))
            raise Refused(
                429,
                f"too many {what}",
                f"the limit is {self._rate:g} a second, {self._burst:g} at once",
                f"wait {wait} s, then send fewer",
                {"Retry-After": str(wait)},
            )


def bounded(scope: Scope, receive: Receive, max_bytes: int) -> Receive:
    """Return a receive that raises Refused: 413 for a long body, 408 for a slow body."""
    length = next((v for k, v in scope["headers"] if k == b"content-length"), b"")
    if length.isdigit() and int(length[:20]) > max_bytes:
        raise _too_long(max_bytes)
    seen = 0
    over = False
    until = time.monotonic() + _BODY_SECONDS

    async def take() -> Message:
        nonlocal seen, over
        if over:
            # After the body, receive() waits for the client to disconnect: no time limit applies.
            return await receive()
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                message = await receive()
        except TimeoutError:
            raise Refused(
                408,
                "the body did not arrive in time",
                f"the limit is {_BODY_SECONDS:g} s",
                "send it faster, or send less",
                {"Connection": "close"},
            ) from None
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            over = not message.get("more_body", False)
            if seen > max_bytes:
                raise _too_long(max_bytes)
        return message

    return take


def _too_long(max_bytes: int) -> Refused:
    return Refused(
        413,
        "the body is too long",
        f"the limit is {max_bytes} bytes",
        "send a shorter body",
        {"Connection": "close"},
    )
