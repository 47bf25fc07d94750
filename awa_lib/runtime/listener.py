"""The listening connection of a process: receives notifications and checks that they arrive."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql as compose

from awa_lib.db.drive import arun
from awa_lib.db.translate import translate
from awa_lib.errors import Transient, Unavailable
from awa_lib.logs import Logger
from awa_lib.ops.runtime import listening_channels
from awa_lib.runtime.sessions import AnswerTimeout, Bounds, open_async
from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awa_lib.runtime.links import Outage

__all__ = ["CANCEL_CHANNEL", "Listener"]

logger = Logger(__name__)

CANCEL_CHANNEL: Final = "awa:cancel"
# Not awa:callback, which would be the channel of a queue named callback.
CALLBACK_CHANNEL: Final = "awa_callback"
POLICY_CHANNEL: Final = "awa_policy"
LEAD_CHANNEL: Final = "awa_lead"
_OF_THE_FLEET: Final = (CANCEL_CHANNEL, CALLBACK_CHANNEL, POLICY_CHANNEL, LEAD_CHANNEL)
_PREFIX: Final = "awa:"
# Postgres truncates channel names to 63 bytes; queues with longer names are only polled.
_LONGEST_CHANNEL_BYTES: Final = 63
_CHECK_SECONDS: Final = 20.0
_ANSWER_SECONDS: Final = 5.0
_BOUNDS: Final = Bounds(statement_seconds=5)


class Listener:
    """LISTEN for queues, cancels, answers to callbacks, changed policies, and a lead that is free.

    The event loop reads notifications straight from the socket.  Every 20 s a query checks that
    the session still listens to all channels (a pooler answers queries but delivers nothing);
    otherwise the dispatchers poll quickly.  After a loss it listens again and wakes every queue
    once.
    """

    def __init__(
        self,
        dsn: str,
        *,
        queues: Iterable[str],
        outage: Outage,
        on_wake: Callable[[str], None],
        on_cancel: Callable[[int, int], None],
        on_callback: Callable[[int], None],
        on_policy: Callable[[], None],
        on_lead: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._queues = list(queues)
        self._channels = [
            channel
            for channel in (_PREFIX + queue for queue in self._queues)
            if len(channel.encode()) <= _LONGEST_CHANNEL_BYTES
        ]
        self._outage = outage
        self._on_wake = on_wake
        self._on_cancel = on_cancel
        self._on_callback = on_callback
        self._on_policy = on_policy
        self._on_lead = on_lead
        self._active: set[str] = set()
        self._lost = asyncio.Event()
        self._first = asyncio.Event()
        self.duty = Duty("listener", self._round, pause=outage.pause)

    def listens(self, queue: str) -> bool:
        """Return True while the session is known to listen for this queue."""
        return _PREFIX + queue in self._active

    async def start(self) -> None:
        """Start, and wait for the end of the first attempt to listen."""
        await self.duty.start()
        await self._first.wait()

    async def stop(self) -> None:
        """Stop listening."""
        await self.duty.stop()

    async def _round(self) -> None:
        """Listen until the connection is lost, then raise Unavailable."""
        try:
            conn = await open_async(self._dsn, _BOUNDS.purpose("listener"))
            try:
                await self._serve(conn)
            finally:
                self._active = set()
                await conn.close()
        except psycopg.Error as error:
            known = translate(error)
            self._note_loss(known)
            raise known from error
        except Transient as error:
            self._note_loss(error)
            raise
        finally:
            self._first.set()

    def _note_loss(self, error: Exception) -> None:
        if isinstance(error, Unavailable):
            self._outage.lost("listener", error)

    async def _serve(self, conn: psycopg.AsyncConnection[Any]) -> None:
        loop = asyncio.get_running_loop()
        conn.add_notify_handler(self._on_notify)
        with AnswerTimeout(conn, _ANSWER_SECONDS + len(self._channels) / 10):
            for channel in [*self._channels, *_OF_THE_FLEET]:
                await conn.execute(compose.SQL("LISTEN {}").format(compose.Identifier(channel)))
        await self._check_channels(conn)
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
                    async with asyncio.timeout(_CHECK_SECONDS):
                        await self._lost.wait()
            finally:
                loop.remove_reader(conn.pgconn.socket)
            if not self._lost.is_set():
                await self._check_channels(conn)
                self.duty.state.succeed()
        raise psycopg.OperationalError("the listening connection was closed")

    async def _check_channels(self, conn: psycopg.AsyncConnection[Any]) -> None:
        with AnswerTimeout(conn, _ANSWER_SECONDS):
            active = await arun(conn, listening_channels())
        missing = set(self._channels) - active
        if missing and missing != set(self._channels) - self._active:
            logger.warning(
                "notifications do not arrive (a transaction pooler in front of the server?); the "
                "worker polls instead",
                extra={"channels": sorted(missing)},
            )
        self._active = active

    def _read(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Read the notifications on the socket."""
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

    def _on_notify(self, notify: psycopg.Notify) -> None:
        # Called for notifications that arrive while a query runs.
        self._pass_on(notify.channel, notify.payload)

    def _pass_on(self, channel: str, payload: str) -> None:
        try:
            self._dispatch(channel, payload)
        except Exception:
            logger.exception(
                "a notification could not be handled and is ignored", extra={"channel": channel}
            )

    def _dispatch(self, channel: str, payload: str) -> None:
        if channel == CANCEL_CHANNEL and payload:
            try:
                cancel = json.loads(payload)
                self._on_cancel(int(cancel["job_id"]), int(cancel["run_lease"]))
            except (ValueError, TypeError, KeyError):
                logger.debug("a malformed cancel was ignored", extra={"payload": payload})
        elif channel == CALLBACK_CHANNEL:
            if payload.isdecimal():
                self._on_callback(int(payload))
        elif channel == POLICY_CHANNEL:
            self._on_policy()
        elif channel == LEAD_CHANNEL:
            self._on_lead()
        else:
            self._on_wake(channel.removeprefix(_PREFIX))
