"""Check raw callbacks by a function of the user, which knows how their sender signs."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from awa_cli.web.problems import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["RawCheck"]

logger = logging.getLogger(__name__)

_SECONDS: Final = 5.0
# A call that never returns keeps its thread.
_CALLS: Final = 8


class RawCheck:
    """Calls the function in a thread, and awaits what it returns, for a limited time.

    At most 8 calls run at a time; others wait, within the same limit.
    """

    def __init__(self, function: Callable[[bytes, Mapping[str, str]], Any]) -> None:
        self._function = function
        self._free = asyncio.Semaphore(_CALLS)

    async def accepts(self, body: bytes, headers: Mapping[str, str]) -> bool:
        """Return whether the function returns True.  Raises Refused (503) if it takes too long."""
        try:
            async with asyncio.timeout(_SECONDS):
                found, error = await self._outcome(body, headers)
        except TimeoutError:
            logger.warning("the check of a raw callback took more than %g s", _SECONDS)
            raise Refused(
                503,
                "the check of the signature took too long",
                do="send the callback again",
                headers={"Retry-After": "1"},
            ) from None
        if error is not None:
            # Without its text, which may quote the body.
            at = traceback.extract_tb(error.__traceback__)[-1]
            logger.warning(
                "the check of a raw callback raised %s in %s, line %s",
                type(error).__name__,
                at.filename,
                at.lineno,
            )
        elif not isinstance(found, bool):
            logger.warning(
                "the check of a raw callback returned %s, not True or False", type(found).__name__
            )
        return found is True

    async def _outcome(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Any, BaseException | None]:
        found, error = await self._call(body, headers)
        if inspect.isawaitable(found):
            try:
                found = await found
            except (Exception, SystemExit) as raised:  # noqa: BLE001 - the function may raise anything
                return None, raised
        return found, error

    async def _call(
        self, body: bytes, headers: Mapping[str, str]
    ) -> tuple[Any, BaseException | None]:
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def end(found: Any, error: BaseException | None) -> None:
            self._free.release()
            if not done.done():
                done.set_result((found, error))

        def work() -> None:
            found, error = None, None
            try:
                found = self._function(body, headers)
            except BaseException as raised:  # noqa: BLE001 - as above
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nothing waits
                loop.call_soon_threadsafe(end, found, error)

        # A daemon: the server can end while the function hangs.
        threading.Thread(target=work, name="awa callback check", daemon=True).start()
        return await done
