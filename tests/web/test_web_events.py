"""Live events: one look a tick for any number of watchers."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from fix_web import web_client

from awa_cli.web.events import Hub
from awa_cli.web.settings import Settings
from awa_cli.web.state import State


class Counting(State):
    """Counts the reads that reach the database."""

    reads = 0

    async def run(self, op):
        self.reads += 1
        return await super().run(op)


@pytest.fixture
async def hub(database_url):
    state = Counting(database_url, Settings(event_seconds=0.05))
    hub = Hub(state)
    yield hub
    hub.close()
    await asyncio.sleep(0)
    await state.close()


def parse(text: bytes) -> tuple[str, object]:
    lines = dict(line.split(": ", 1) for line in text.decode().strip().splitlines())
    return lines["event"], json.loads(lines["data"])


async def following(hub, *topics):
    """Yield (name, data) of what a watcher is sent."""
    async for text in hub.watch(hub.check(list(topics))):
        if text.startswith(b"event:"):
            yield parse(text)


async def test_a_snapshot_comes_at_once_and_again_when_it_changes(hub, add) -> None:
    seen = following(hub, "stats")

    name, first = await anext(seen)
    add("failed")
    _, second = await anext(seen)

    assert (name, first["failed"], second["failed"]) == ("stats", 0, 1)
    await seen.aclose()


async def test_one_read_a_tick_for_two_hundred_watchers(hub, add) -> None:
    watchers = [following(hub, "stats") for _ in range(200)]
    await asyncio.gather(*[anext(one) for one in watchers])
    before = hub._state.reads

    for number in range(1, 6):
        add("failed")
        answers = await asyncio.gather(*[anext(one) for one in watchers])
        assert {data["failed"] for _, data in answers} == {number}

    # Five changes were told 1,000 times.  A look costs at most a fifth of the time, so there may
    # have been some in which nothing was new, but never one for each watcher.
    assert hub._state.reads - before < 100
    for one in watchers:
        await one.aclose()


async def test_nothing_is_read_while_nobody_watches(hub) -> None:
    seen = following(hub, "stats")
    await anext(seen)
    await seen.aclose()
    await asyncio.sleep(0)
    reads = hub._state.reads

    await asyncio.sleep(0.2)

    assert hub._state.reads == reads
    assert hub._channels == {}


async def test_the_activity_tells_transitions(hub, add) -> None:
    seen = following(hub, "activity")
    telling = asyncio.create_task(anext(seen))
    added = []
    while not telling.done():  # what was before its first look is not told
        added.append(add("available", kind="mail"))
        await asyncio.wait({telling}, timeout=0.1)

    name, data = telling.result()
    assert name == "activity"
    assert [(one["event"], one["kind"]) for one in data] == [("created", "mail")] * len(data)
    assert {one["id"] for one in data} <= set(added)
    await seen.aclose()


async def test_a_job_is_followed_until_it_is_gone(hub, add, db) -> None:
    job_id = add("available")
    seen = following(hub, f"job:{job_id}")

    name, dump = await anext(seen)
    db.execute("DELETE FROM awa.jobs_hot")
    gone = await anext(seen)

    assert (name, dump["job"]["id"]) == ("job", job_id)
    assert gone == ("gone", {"topic": f"job:{job_id}"})
    await seen.aclose()


async def test_a_slow_watcher_is_told_what_it_missed_and_keeps_no_memory(hub) -> None:
    from awa_cli.web.events import _Watcher

    watcher = _Watcher()
    for number in range(1_000):
        watcher.give("activity", b"event: activity\ndata: %d\n\n" % number, newest=False)
        watcher.give("stats", b"event: stats\ndata: %d\n\n" % number, newest=True)

    texts = watcher.take()
    assert texts[0] == b"event: stats\ndata: 999\n\n"
    assert parse(texts[1])[0] == "missed"
    assert len(texts) <= 51


async def test_a_lost_database_is_told_and_so_is_its_return(database_url, add) -> None:
    state = State(database_url, Settings(event_seconds=0.05))
    hub = Hub(state)
    seen = following(hub, "stats")
    await anext(seen)
    name = database_url.rpartition("/")[2].partition("?")[0]
    with psycopg.connect(database_url.replace(name, "postgres"), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = %s AND pid <> pg_backend_pid()",
            [name],
        )
        lost, problem = await asyncio.wait_for(anext(seen), 20)
        admin.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')
    back, _ = await asyncio.wait_for(anext(seen), 30)

    assert (lost, back) == ("lost", "stats")
    assert problem["do"]
    await seen.aclose()
    await state.close()


@pytest.mark.parametrize("query", ["topic=nope", "topic=job:x", "topic=job:0", "other=1"])
async def test_a_wrong_topic_is_told(api, query) -> None:
    response = await api.get(f"/api/events?{query}")

    assert response.status_code == 422


async def test_no_more_than_eight_topics(api) -> None:
    query = "&".join(f"topic=job:{n}" for n in range(1, 10))

    assert (await api.get(f"/api/events?{query}")).status_code == 422


async def test_a_real_server_streams_and_ends_streams_when_it_stops(server, add) -> None:
    import httpx

    running = server()
    async with httpx.AsyncClient() as client:
        async with client.stream("GET", f"{running.url}/api/events?topic=queues") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.aiter_lines()
            async for line in lines:
                if line == "event: queues":
                    break
            running.app.state.hub.close()
            rest = [line async for line in lines]
    assert rest[-1] == ""


async def test_hidden_values_stay_hidden_in_events(database_url, add) -> None:
    from awa_cli.redact import Redactor

    job_id = add("failed", args='{"password": "s3cret"}')
    settings = Settings(event_seconds=0.05, redactor=Redactor("password"))
    state = State(database_url, settings)
    seen = following(Hub(state), f"job:{job_id}")

    _, dump = await anext(seen)

    assert dump["job"]["args"] == {"password": "***"}
    await seen.aclose()
    await state.close()


async def test_watchers_cannot_be_without_number(database_url, monkeypatch) -> None:
    monkeypatch.setattr("awa_cli.web.events._MAX_WATCHERS", 0)
    async with web_client(database_url) as client:
        assert (await client.get("/api/events")).status_code == 503
