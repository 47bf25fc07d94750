"""A network that misbehaves on purpose: a proxy before the server that can fall silent or cut."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.managers import BaseManager, NamespaceProxy
from pathlib import Path

import pytest
from fix_wire import Answer, Questions
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Proxy:
    """Forwards connections to a server's socket, in a thread of its own."""

    def __init__(self, target: str | Path) -> None:
        self._target = str(target)
        self._cut_on: bytes | None = None
        self._lost: bytes | None = None
        self._held = threading.Event()
        self._stranded = 0
        self._cut_after: tuple[bytes, str] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self.cuts = 0
        self.losses = 0
        self.hold_new_connections = False
        self.delay = 0.0
        """Seconds by which each answer is late."""
        self.port = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def cut_answer(self, marker: bytes) -> None:
        """Swallow the next answer of the server that holds these bytes, and cut its connection."""
        self._cut_on = marker

    def cut_after(self, text: bytes, part: str) -> None:
        """Let the server do the next statement with this text; cut it off in its answer.

        Only a part of the answer is passed on: see ``Answer.head``.
        """
        self._cut_after = text, part

    def lose_question(self, marker: bytes | None) -> None:
        """Lose what a client sends with these bytes in it, until None, and close nothing."""
        self._lost = marker

    def hold(self) -> None:
        """Pass nothing on any more, and close nothing: a host that is gone."""
        self._held.set()

    def let_go(self) -> None:
        """Pass on what comes from now on."""
        self._held.clear()

    def strand(self) -> None:
        """Keep the connections of now open, and pass nothing on; new ones work."""
        self._stranded += 1

    def cut_all(self) -> None:
        """Cut every connection."""
        self._loop.call_soon_threadsafe(self._close_all)

    def stop(self) -> None:
        """End the proxy."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _close_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        self._close_all()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self.hold_new_connections:
            await asyncio.sleep(0.01)
        try:
            there = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        wire = _Wire()
        # Streams of Python 3.11 complain of a task that is cancelled at the end.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._pipe(reader, there[1], writer, wire, answers=False),
                self._pipe(there[0], writer, there[1], wire, answers=True),
            )
        self._writers -= {writer, there[1]}
        for one in (writer, there[1]):
            one.transport.abort()

    async def _pipe(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        wire: _Wire,
        *,
        answers: bool,
    ) -> None:
        mine = self._stranded
        try:
            while data := await reader.read(65_536):
                if self._held.is_set() or mine != self._stranded:
                    continue
                if not answers and self._lost is not None and self._lost in data:
                    self.losses += 1
                    continue
                if answers and self._cut_on is not None and self._cut_on in data:
                    self._cut_on = None
                    self.cuts += 1
                    break
                if answers and wire.answer is not None:
                    wire.answer.read(data)
                    if not wire.answer.complete:
                        continue
                    self.cuts += 1
                    writer.write(wire.answer.head(wire.part))
                    await writer.drain()
                    for one in (writer, back):
                        one.close()
                    return
                if answers and self.delay:
                    await asyncio.sleep(self.delay)
                if not answers:
                    self._look(wire, data)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        if not self._held.is_set() and mine == self._stranded:
            for one in (writer, back):
                one.transport.abort()

    def _look(self, wire: _Wire, data: bytes) -> None:
        for text in wire.questions.read(data):
            if self._cut_after is not None and self._cut_after[0] in text:
                wire.answer, wire.part = Answer(), self._cut_after[1]
                self._cut_after = None


class _Remote(NamespaceProxy):
    """A proxy in another process."""

    _exposed_ = (
        "__getattribute__", "__setattr__", "__delattr__",
        "hold", "let_go", "strand", "cut_all", "cut_after", "stop",
    )  # fmt: skip

    def hold(self) -> None:
        self._callmethod("hold")

    def let_go(self) -> None:
        self._callmethod("let_go")

    def strand(self) -> None:
        self._callmethod("strand")

    def cut_all(self) -> None:
        self._callmethod("cut_all")

    def cut_after(self, text: bytes, part: str) -> None:
        self._callmethod("cut_after", (text, part))

    def stop(self) -> None:
        self._callmethod("stop")


class _Manager(BaseManager):
    pass


_Manager.register("Proxy", Proxy, _Remote)


@contextmanager
def remote_proxy(target: str | Path) -> Iterator[Proxy]:
    """A proxy that other threads of this process do not slow down."""
    with _Manager(ctx=multiprocessing.get_context("spawn")) as manager:
        proxy = manager.Proxy(str(target))
        yield proxy
        proxy.stop()


class _Wire:
    """What is known of a connection: what its client asks, and the answer that will be cut."""

    def __init__(self) -> None:
        self.questions = Questions()
        self.answer: Answer | None = None
        self.part = ""


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A proxy before the server of ``database_url``."""
    server = conninfo_to_dict(database_url)
    one = Proxy(Path(str(server["host"])) / f".s.PGSQL.{server.get('port') or 5432}")
    yield one
    one.stop()


@pytest.fixture
def proxied_url(proxy: Proxy, database_url: str) -> str:
    """The test's database, through the proxy."""
    return make_conninfo(database_url, host="127.0.0.1", port=str(proxy.port))


@pytest.fixture
def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
