"""Jobs sent to real HTTP servers: good, slow, failing, redirecting, hanging and gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Rows, working

import awa_lib as awa
from awa_lib.runtime.http_worker import HttpWorker

KEY = bytes([1]) * 32


@dataclass
class Function:
    """A server that answers every POST with a given answer."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    hang: asyncio.Event | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *fields = head.decode().split("\r\n")
                headers = {
                    key.lower(): value for key, _, value in (f.partition(": ") for f in fields)
                }
                body = await reader.readexactly(int(headers["content-length"]))
                self.requests.append((line, headers, body))
                if self.hang is not None:
                    await self.hang.wait()
                if not self.answer:
                    break
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def answer(status: int, body: str = "", **headers: str) -> bytes:
    more = "".join(f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items())
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n{body}".encode()


@pytest.fixture
async def function() -> AsyncIterator[Function]:
    made = Function()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/run"
    yield made
    if made.hang is not None:
        made.hang.set()
    server.close()


async def ended(
    client: awa.AsyncClient, rows: Rows, state: str, args: Any = None
) -> dict[str, Any]:
    async with working(client):
        job = await client.insert(args or {"n": 1}, kind="resize", max_attempts=3)
        await aeventually(lambda: rows.job(job.id)["state"] == state)
        return rows.job(job.id)


async def test_sync_mode_completes_on_2xx(aclient, rows: Rows, function: Function) -> None:
    aclient.http_worker("resize", function.url, mode="sync", headers={"X-Team": "ops"}, secret=KEY)

    row = await ended(aclient, rows, "completed", {"n": 1, "é": [1.5, None]})

    ((line, headers, body),) = function.requests
    assert line == "POST /run HTTP/1.1"
    assert json.loads(body) == {
        "job_id": row["id"],
        "kind": "resize",
        "args": {"n": 1, "é": [1.5, None]},
        "attempt": 1,
        "max_attempts": 3,
    }
    assert headers["content-type"] == "application/json"
    assert headers["x-team"] == "ops"
    assert headers["user-agent"].startswith("awa-toolkit/")
    assert "x-awa-signature" not in headers


async def test_async_mode_parks_and_the_callback_completes(
    aclient, rows: Rows, function: Function
) -> None:
    aclient.http_worker(
        "resize",
        function.url,
        secret=KEY.hex(),
        callback_base_url="https://awa.example/x/",
        callback_timeout_seconds=60,
    )

    async with working(aclient):
        job = await aclient.insert({}, kind="resize")
        await aeventually(lambda: rows.job(job.id)["state"] == "waiting_external")
        ((_, headers, body),) = function.requests
        sent = json.loads(body)
        await aclient.complete_external(sent["callback_id"], {"ok": True})

    assert sent["callback_url"] == (
        f"https://awa.example/x/api/callbacks/{sent['callback_id']}/complete"
    )
    assert awa.verify_callback_signature(KEY, sent["callback_id"], headers["x-awa-signature"])
    assert await aclient.verify_callback_request(
        KEY, sent["callback_id"], "dispatch", body, headers["x-awa-request-signature"]
    )
    row = rows.job(job.id)
    assert row["state"] == "completed"
    assert row["metadata"]["_awa_callback_result"] == {"ok": True}


async def test_callback_before_the_answer_wins(aclient, rows: Rows, function: Function) -> None:
    """The function calls back while its own answer is still on the way."""
    function.hang = asyncio.Event()
    aclient.http_worker("resize", function.url)

    async with working(aclient):
        job = await aclient.insert({}, kind="resize")
        await aeventually(lambda: function.requests)
        await aclient.complete_external(json.loads(function.requests[0][2])["callback_id"])
        function.hang.set()

    assert rows.job(job.id)["state"] == "completed"


@pytest.mark.parametrize(
    ("reply", "state", "words"),
    [
        (
            answer(500, "out of memory"),
            "retryable",
            "FunctionFailed: function returned 500: out of",
        ),
        (answer(503), "retryable", "function returned 503: "),
        (answer(429), "retryable", "function returned 429"),
        (answer(400, "no such image"), "failed", "FunctionRefused: function returned 400: no such"),
        (answer(404), "failed", "function returned 404"),
        (answer(302, location="http://elsewhere/"), "failed", "a redirect to 'http://elsewhere/'"),
        (answer(500, "x" * 1_000_000), "retryable", "function returned 500: " + "x" * 1_900),
        (answer(500, "a\x00b"), "retryable", "a\N{REPLACEMENT CHARACTER}b"),
        (b"nonsense\r\n\r\n", "retryable", "FunctionFailed: function not reached"),
        (b"", "retryable", "FunctionFailed: function not reached: "),
    ],
)
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_answers(
    aclient, rows: Rows, function: Function, reply: bytes, state: str, words: str, mode: str
) -> None:
    function.answer = reply
    aclient.http_worker("resize", function.url, mode=mode, backoff=awa.fixed(60))

    row = await ended(aclient, rows, state)

    (error,) = row["errors"]
    assert words in error["error"]
    assert len(error["error"]) < 5_000
    assert error.get("terminal", False) is (state == "failed")


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept_to(aclient, rows: Rows, function: Function, status) -> None:
    function.answer = answer(status, retry_after="120")
    aclient.http_worker("resize", function.url, mode="sync")

    await ended(aclient, rows, "retryable")

    (row,) = rows.all("SELECT run_at - finalized_at AS delay FROM awa.jobs")
    assert row["delay"].total_seconds() == pytest.approx(120, abs=1)


async def test_hanging_function_times_out(aclient, rows: Rows, function: Function) -> None:
    function.hang = asyncio.Event()
    aclient.http_worker("resize", function.url, mode="sync", timeout_seconds=0.3)

    row = await ended(aclient, rows, "retryable")

    assert "function did not answer within 0.3 s" in row["errors"][0]["error"]


async def test_nobody_there(aclient, rows: Rows) -> None:
    aclient.http_worker("resize", "http://127.0.0.1:1/", mode="sync")

    row = await ended(aclient, rows, "retryable")

    assert "FunctionFailed: function not reached" in row["errors"][0]["error"]


async def test_worker_starts_again_after_shutdown(aclient, rows: Rows, function: Function) -> None:
    aclient.http_worker("resize", function.url, mode="sync")

    await ended(aclient, rows, "completed")
    await ended(aclient, rows, "completed")

    assert len(function.requests) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"url": "ftp://x"}, "url must be an http or https URL, got 'ftp://x'"),
        ({"url": 7}, "url must be an http or https URL, got 7"),
        ({"callback_base_url": "awa"}, "callback_base_url must be an http or https URL"),
        ({"mode": "later"}, "mode must be 'async' or 'sync', got 'later'"),
        ({"timeout_seconds": 0}, "timeout_seconds must be a number > 0, got 0"),
        ({"callback_timeout_seconds": float("inf")}, "callback_timeout_seconds must be a number"),
        ({"headers": {"a": "b\r\nc"}}, "headers must be a dict of strings"),
        ({"headers": [("a", "b")]}, "headers must be a dict of strings"),
        ({"secret": b"x"}, "the callback secret must be 32 bytes"),
    ],
)
def test_bad_configuration(given: dict[str, Any], message: str) -> None:
    call: Callable[[], Any] = lambda: HttpWorker(**{"url": "http://x/", **given})  # noqa: E731 - short, and used twice
    with pytest.raises(awa.ValidationError, match=message):
        call()


def test_secret_is_never_shown() -> None:
    worker = HttpWorker(url="http://x/", secret=KEY, headers={"Authorization": "Bearer s3cret"})

    assert KEY.hex() not in repr(worker)
    assert "s3cret" not in repr(worker)


async def test_resumed_job_does_not_call_again(aclient, rows: Rows, function: Function) -> None:
    """The answer ends it: completed, with its payload, although no handler waits."""
    aclient.http_worker("resize", function.url)

    async with working(aclient):
        job = await aclient.insert({}, kind="resize", max_attempts=1)
        await aeventually(lambda: rows.job(job.id)["state"] == "waiting_external")
        await aclient.resume_external(
            json.loads(function.requests[0][2])["callback_id"], {"width": 7}
        )
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert len(function.requests) == 1
    assert rows.job(job.id)["metadata"]["_awa_callback_result"] == {"width": 7}
    assert rows.job(job.id)["attempt"] == 1


@pytest.mark.parametrize("reply", [b"", answer(500), answer(404)], ids=["cut", "500", "404"])
async def test_function_that_has_called_back_is_done(
    aclient, rows: Rows, function: Function, reply: bytes
) -> None:
    """Whatever became of its response: a gateway may have cut it off."""
    function.answer, function.hang = reply, asyncio.Event()
    aclient.http_worker("resize", function.url)

    async with working(aclient):
        job = await aclient.insert({}, kind="resize")
        await aeventually(lambda: function.requests)
        await aclient.resume_external(json.loads(function.requests[0][2])["callback_id"], 1)
        function.hang.set()
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")

    assert len(function.requests) == 1


@pytest.mark.parametrize(
    ("head", "state", "words"),
    [
        ("400 X\r\nContent-Length: 10", "failed", "function returned 400: ab"),
        ("500 X\r\nContent-Length: 10", "retryable", "function returned 500: ab"),
        ("404 X\r\nTransfer-Encoding: chunked\r\n\r\nzz", "failed", "function returned 404"),
        ("500 X\r\nContent-Encoding: gzip\r\nContent-Length: 2", "retryable", "500: ab"),
        ("503 X\r\nRetry-After: soon\r\nContent-Length: 2", "retryable", "returned 503: ab"),
        ("503 X\r\nRetry-After: Wed, 99 Foo\r\nContent-Length: 2", "retryable", "503: ab"),
        ("500 X\r\nX-Odd: \xff\xfe\r\nContent-Length: 2", "retryable", "returned 500: ab"),
    ],
    ids=["hangs", "hangs-500", "bad-chunks", "no-gzip", "retry-after", "bad-date", "bytes"],
)
async def test_status_tells_whatever_the_rest_is_like(
    aclient, rows: Rows, function: Function, head: str, state: str, words: str
) -> None:
    function.answer = f"HTTP/1.1 {head}\r\n\r\nab".encode("latin-1")
    aclient.http_worker(
        "resize", function.url, mode="sync", timeout_seconds=2, backoff=awa.fixed(60)
    )

    row = await ended(aclient, rows, state)

    assert words in row["errors"][0]["error"]


async def test_retry_after_may_be_a_date(aclient, rows: Rows, function: Function) -> None:
    function.answer = answer(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")
    aclient.http_worker("resize", function.url, mode="sync")

    async with working(aclient):
        job = await aclient.insert({"n": 1}, kind="resize", max_attempts=3)
        await aeventually(lambda: len(function.requests) >= 2)  # a date in the past: at once

    assert rows.job(job.id)["errors"] == []


async def test_retry_after_is_a_date_by_the_clock_of_the_answer(
    aclient, rows: Rows, function: Function
) -> None:
    """The clock of this host may be wrong: here by years."""
    function.answer = answer(
        503, date="Wed, 21 Oct 2015 07:28:00 GMT", retry_after="Wed, 21 Oct 2015 07:30:00 GMT"
    )
    aclient.http_worker("resize", function.url, mode="sync")

    await ended(aclient, rows, "retryable")

    (row,) = rows.all("SELECT run_at - finalized_at AS delay FROM awa.jobs")
    assert row["delay"].total_seconds() == pytest.approx(120, abs=1)


async def test_2xx_is_done_though_its_body_hangs(aclient, rows: Rows, function: Function) -> None:
    function.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"
    aclient.http_worker("resize", function.url, mode="sync", timeout_seconds=2)

    await ended(aclient, rows, "completed")


@pytest.mark.parametrize("name", ["url", "callback_base_url"])
@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://127.0.0.1:99999/", "its port must be a number from 1 to 65535"),
        ("http://127.0.0.1:0/", "its port must be a number from 1 to 65535"),
        ("http://user:s3/cret@host/", "its port must be a number from 1 to 65535"),
        ("http://[::1/", "it has invalid brackets or characters"),
        ("http://exa mple.com/", "the host 'exa mple.com' has invalid characters"),
        ("http://a..b/", "each label of the host must have 1 to 63 characters: 'a..b'"),
        (f"http://{'a' * 64}.example/", "each label of the host must have 1 to 63 characters"),
        (f"http://{'a.' * 130}example/", "the host has more than 253 characters"),
        (f"http://{'ä' * 70}.example/", "cannot be written in DNS"),
        ("http:///x", "it has no host"),
        ("https://user:s3cret@/", "it has no host"),
    ],
)
def test_bad_urls_are_refused_when_they_are_declared(name: str, url: str, message: str) -> None:
    with pytest.raises(awa.ValidationError) as found:
        HttpWorker(**{"url": "http://x/", name: url})

    assert str(found.value).startswith(f"{name} must be an http or https URL: ")
    assert message in str(found.value)
    assert "s3" not in str(found.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]:8080/x",
        "http://bücher.example/",
        "https://a.b-c.example.:443/?q=1",
        "http://user:word@localhost/",
        "http://under_score.internal/",
    ],
)
def test_good_urls_are_taken(url: str) -> None:
    assert HttpWorker(url=url, callback_base_url=url).url == url


async def test_request_that_cannot_be_sent_is_not_tried_again(aclient, rows: Rows) -> None:
    """What the HTTP library alone refuses."""
    aclient.http_worker("resize", "http://xn--.example/", mode="sync")

    row = await ended(aclient, rows, "failed")

    assert "FunctionRefused: the request cannot be sent" in row["errors"][0]["error"]
