"""Several hosts in a URL, and a server that comes back."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fix_own_server import OwnServer
from psycopg.conninfo import conninfo_to_dict, make_conninfo

import awa_lib as awa


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
