"""Several hosts in a URL, and a server that comes back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from fix_own_server import OwnServer
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import awa_lib as awa
from awa_lib.db.connect import Purpose, connect_async


@pytest.fixture
def server() -> Iterator[OwnServer]:
    place = Path(tempfile.mkdtemp(prefix="awa-hosts-"))
    place.chmod(0o755)
    try:
        own = OwnServer(place / "server")
        with awa.Client(own.url) as client:
            client.migrate()
        yield own
        own.stop()
    finally:
        shutil.rmtree(place)


async def test_a_silent_host_costs_one_connection_its_time_out(sound_url: str) -> None:
    """The host that took the last connection is asked first."""
    there = conninfo_to_dict(sound_url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = make_conninfo(
            sound_url, host=f"127.0.0.1,{there['host']}", connect_timeout=2,
            port=f"{silent.getsockname()[1]},{there['port']}",
        )  # fmt: skip
        seconds = []
        for _ in range(2):
            began = time.monotonic()
            with awa.Client(url) as client:
                client.list_queues()
            seconds.append(time.monotonic() - began)
        began = time.monotonic()
        async with awa.AsyncClient(url) as aclient:
            await aclient.list_queues()
        seconds.append(time.monotonic() - began)

    assert seconds[0] >= 2
    assert max(seconds[1:]) < 2


def test_a_caller_that_waits_learns_soon_that_the_server_is_back(server: OwnServer) -> None:
    with awa.Client(server.url) as client:
        client.insert(awa.NewJob({}, kind="one"))
        server.stop()
        ended: list[float] = []

        def insert() -> None:
            client.insert(awa.NewJob({}, kind="one"))
            ended.append(time.monotonic())

        waiting = threading.Thread(target=insert)
        waiting.start()
        # The pauses of psycopg's pool end 1, 3 and 7 s after the first failure.
        time.sleep(3.3)
        server.start()
        back = time.monotonic()
        waiting.join(20)

    assert ended
    assert ended[0] - back < 2.5


def test_a_socket_that_uvloop_refuses_is_refused_once(database_url: str) -> None:
    """It keeps the poll of a connection that failed, under the number of its socket."""
    uvloop = pytest.importorskip("uvloop")

    async def refused_then_connected() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        failing = socket.socket()
        failing.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            failing.connect(("127.0.0.1", port))
        loop.set_exception_handler(lambda *_: None)
        failed = asyncio.Event()
        loop.add_writer(failing.fileno(), failed.set)
        await asyncio.wait_for(failed.wait(), 10)
        await asyncio.sleep(0.1)  # its poll is closed in a later turn of the loop
        failing.close()
        with pytest.raises(psycopg.OperationalError):
            await connect_async(database_url, Purpose())
        gc.collect()  # the refused socket is closed, and the next one has its number
        conn = await connect_async(database_url, Purpose())
        await conn.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(refused_then_connected())
