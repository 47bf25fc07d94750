"""Clients that send slowly, too much, or no HTTP."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest

import awa_cli.web.server as web_server
from awa_cli.web import rate_limits


def talk(port: int, *parts: bytes, pause: float = 0.0, wait: float = 5.0) -> bytes:
    """Send parts with pauses and return all that comes back until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as sock:
        answer = b""
        with suppress(ConnectionError):
            for part in parts:
                sock.sendall(part)
                time.sleep(pause)
        with suppress(ConnectionError, TimeoutError):
            while block := sock.recv(65536):
                answer += block
        return answer


async def test_a_head_that_does_not_come_is_not_waited_for(server, monkeypatch) -> None:
    monkeypatch.setattr(web_server, "_HEAD_SECONDS", 0.5)
    port = server().port
    for parts in ([b""], [b"GET / HT"], [b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 20]):
        began = time.monotonic()
        answer = await asyncio.to_thread(talk, port, *parts, pause=0.1, wait=10)
        assert answer == b""
        assert time.monotonic() - began < 5


async def test_a_second_slow_head_on_one_connection_neither(server, monkeypatch) -> None:
    monkeypatch.setattr(web_server, "_HEAD_SECONDS", 0.5)
    port = server().port
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

    answer = await asyncio.to_thread(
        talk,
        port,
        whole,
        *[b"GET /healthz HTTP/1.1\r\nA: b\r\n", *[b"X: y\r\n"] * 20],
        pause=0.1,
        wait=10,
    )

    assert answer.count(b"HTTP/1.1 200") == 1


async def test_slow_clients_do_not_keep_others_out(server) -> None:
    port = server().port
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    for one in slow:
        one.sendall(b"GET / HTTP/1.1\r\n")

    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = await asyncio.to_thread(talk, port, whole)

    assert answer.startswith(b"HTTP/1.1 200")
    for one in slow:
        one.close()


async def test_a_body_that_does_not_come_is_not_waited_for(server, monkeypatch) -> None:
    monkeypatch.setattr(rate_limits, "_BODY_SECONDS", 0.3)
    head = (
        b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100\r\n\r\n{"
    )

    answer = await asyncio.to_thread(talk, server().port, head)

    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(server) -> None:
    port = server().port
    head = b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    told = await asyncio.to_thread(talk, port, head + b"Content-Length: 99999999999\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    untold = await asyncio.to_thread(
        talk, port, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40
    )

    assert told.startswith(b"HTTP/1.1 413")
    assert untold.startswith(b"HTTP/1.1 413") or untold == b""


@pytest.mark.parametrize(
    "text",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=lambda text: repr(text[:20]),
)
async def test_what_is_no_request_is_refused(server, text, monkeypatch) -> None:
    monkeypatch.setattr(web_server, "_HEAD_SECONDS", 1.0)
    port = server().port

    answer = await asyncio.to_thread(talk, port, text)

    assert answer[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 421", b"HTTP/1.1 431", b""}
    whole = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    assert (await asyncio.to_thread(talk, port, whole)).startswith(b"HTTP/1.1 200")
