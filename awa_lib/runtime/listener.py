"""One listening connection a process: wakes dispatchers, passes cancels on, proves it is alive."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql as compose

from awa_lib.db.drive import arun, translate
from awa_lib.errors import Transient, Unavailable
from awa_lib.ops.runtime import listening_channels
from awa_lib.runtime.connections import Bound, Bounds
from awa_lib.runtime.sessions import open_async
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awa_lib.runtime.connections import Outage

__all__ = ["CANCEL_CHANNEL", "Listener"]

logger = logging.getLogger(__name__)

CANCEL_CHANNEL: Final = "awa:cancel"
# Not awa:callback: that would be the channel of a queue of this name.
CALLBACK_CHANNEL: Final = "awa_callback"
POLICY_CHANNEL: Final = "awa_policy"
_PREFIX: Final = "awa:"
# Postgres cuts channel names at 63 bytes; longer queue names can only be polled.
_LONGEST_CHANNEL: Final = 63
_PROOF_SECONDS: Final = 20.0
_PROOF_TIMEOUT: Final = 5.0
_BOUNDS: Final = Bounds(statement_seconds=5)


class Listener:
    """LISTEN for every queue, for cancels, answers to callbacks, and changed policies.

    Notifications are read straight from the socket by the event loop.  Every 20 s the connection
    is asked whether it still listens to all channels (a pooler answers queries but delivers
    nothing); without proof the dispatchers poll quickly.  After a loss it listens anew and wakes
    every queue once.
    """

    def __init__(
        self,
        dsn: str,
        queues: Iterable[str],
        outage: Outage,
        on_wake: Callable[[str], None],
        on_cancel: Callable[[int, int], None],
        on_callback: Callable[[int], None],
        on_policy: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._queues = list(queues)
        self._channels = [
            _PREFIX + q for q in self._queues if len((_PREFIX + q).encode()) <= _LONGEST_CHANNEL
        ]
        self._outage = outage
        self._on_wake = on_wake
        self._on_cancel = on_cancel
        self._on_callback = on_callback
        self._on_policy = on_policy
        self._heard: set[str] = set()
        self._lost = asyncio.Event()
        self._first = asyncio.Event()
        self.duty = Duty("listener", self._round, pause=outage.pause)

    def listens(self, queue: str) -> bool:
        """Return True while notifications of this queue are proven to arrive."""
        return _PREFIX + queue in self._heard

    async def start(self) -> None:
        """Start, and wait until the first try to listen has succeeded or failed."""
        await self.duty.start()
        await self._first.wait()

    async def stop(self) -> None:
        """Stop listening."""
        await self.duty.stop()

    async def _round(self) -> None:
        """Listen until the connection is lost.  Raises Unavailable then."""
        try:
            conn = await open_async(self._dsn, _BOUNDS.purpose("listener"))
            try:
                await self._serve(conn)
            finally:
                self._heard = set()
                await conn.close()
        except psycopg.Error as error:
            known = translate(error)
            self._note(known)
            raise known from error
        except Transient as error:
            self._note(error)
            raise
        finally:
            self._first.set()

    def _note(self, error: Exception) -> None:
        if isinstance(error, Unavailable):
            self._outage.lost("listener", error)

    async def _serve(self, conn: psycopg.AsyncConnection[Any]) -> None:
        loop = asyncio.get_running_loop()
        conn.add_notify_handler(self._hear)
        with Bound(conn, _PROOF_TIMEOUT + len(self._channels) / 10):
            for channel in [*self._channels, CANCEL_CHANNEL, CALLBACK_CHANNEL, POLICY_CHANNEL]:
                await conn.execute(compose.SQL("LISTEN {}").format(compose.Identifier(channel)))
        await self._prove(conn)
        self._outage.back("listener")
        self.duty.state.succeed()
        self._first.set()
        self._on_policy()
        for queue in self._queues:
            self._on_wake(queue)
        self._lost.clear()
        while not self._lost.is_set():
            loop.add_reader(conn.fileno(), self._read, conn)
            try:
                with suppress(TimeoutError), self.duty.resting():
                    await asyncio.wait_for(self._lost.wait(), _PROOF_SECONDS)
            finally:
                loop.remove_reader(conn.pgconn.socket)
            if not self._lost.is_set():
                await self._prove(conn)
                self.duty.state.succeed()
        raise psycopg.OperationalError("the listening connection was closed")

    async def _prove(self, conn: psycopg.AsyncConnection[Any]) -> None:
        with Bound(conn, _PROOF_TIMEOUT):
            heard = await arun(conn, listening_channels())
        deaf = set(self._channels) - heard
        if deaf and deaf != set(self._channels) - self._heard:
            logger.warning(
                "LISTEN is not heard (a transaction pooler in front?); polling instead",
                extra={"channels": sorted(deaf)},
            )
        self._heard = heard

    def _read(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Take notifications off the socket."""
        pgconn = conn.pgconn
        try:
            pgconn.consume_input()
        except psycopg.OperationalError:
            self._lost.set()
            return
        if pgconn.status != psycopg.pq.ConnStatus.OK:
            self._lost.set()
            return
        while notify := pgconn.notifies():
            self._pass_on(notify.relname.decode(), notify.extra.decode("utf-8", "replace"))

    def _hear(self, notify: psycopg.Notify) -> None:
        # Those that arrive while a query of ours runs come this way.
        self._pass_on(notify.channel, notify.payload)

    def _pass_on(self, channel: str, payload: str) -> None:
        try:
            self._dispatch(channel, payload)
        except Exception:
            # The next notification may be another matter.
            logger.exception("a notification was not passed on", extra={"channel": channel})

    def _dispatch(self, channel: str, payload: str) -> None:
        if channel == CANCEL_CHANNEL and payload:
            try:
                told = json.loads(payload)
                self._on_cancel(int(told["job_id"]), int(told["run_lease"]))
            except (ValueError, TypeError, KeyError):
                logger.debug("ignored a malformed cancel", extra={"payload": payload})
        elif channel == CALLBACK_CHANNEL:
            if payload.isdecimal():
                self._on_callback(int(payload))
        elif channel == POLICY_CHANNEL:
            self._on_policy()
        else:
            self._on_wake(channel.removeprefix(_PREFIX))
