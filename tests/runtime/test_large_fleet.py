"""A worker among a thousand: its part of the polls, the wake-ups and the shared rows."""

from __future__ import annotations

import asyncio
import json

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows

import awa_lib as awa
from awa_lib.descriptors import Descriptor
from awa_lib.ops import claims
from awa_lib.ops.runtime import Descriptors, described, sync_descriptors
from awa_lib.reads.runtime import count_workers

CROWD = """
    INSERT INTO awa.runtime_instances (
        instance_id, pid, version, started_at, last_seen_at, snapshot_interval_ms, healthy,
        postgres_connected, poll_loop_alive, heartbeat_alive, maintenance_alive, shutting_down,
        leader, queues, queue_descriptor_hashes, job_kind_descriptor_hashes, storage_capability)
    SELECT gen_random_uuid(), 1, '0', now(), now() - %s * interval '1 second', 10000, true, true,
           true, true, true, %s, false, %s::jsonb, '{}', %s::jsonb, 'canonical'
    FROM generate_series(1, %s)"""


def crowd(
    rows: Rows, count: int, queues: tuple[str, ...] = ("default",),
    kinds: tuple[str, ...] = ("noop",), *, age: int = -3600, leaving: bool = False,
) -> None:  # fmt: skip
    """Publish workers; by default they live for the whole test."""
    names = json.dumps([{"queue": queue, "in_flight": 0} for queue in queues])
    hashes = json.dumps(dict.fromkeys(kinds, "h"))
    rows.conn.execute(CROWD, [age, leaving, names, hashes, count])


@pytest.fixture
def claimed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queues that were claimed from, in order."""
    found: list[str] = []
    claim = claims.claim

    def counted(queue: str, *given: object, **options: object) -> object:
        found.append(queue)
        return claim(queue, *given, **options)

    monkeypatch.setattr(claims, "claim", counted)
    return found


async def idle(client: awa.AsyncClient, claimed: list[str]) -> None:
    """Start the worker and wait until its first claims are over."""

    @client.task(Noop)
    async def noop(job: awa.Job) -> None: ...

    await client.start([("default", 10)])
    listens = client._runtime._listener.listens
    await aeventually(lambda: listens("default") and claimed)
    await asyncio.sleep(0.5)
    claimed.clear()


@pytest.mark.parametrize(("others", "fewest", "most"), [(0, 3, 8), (999, 0, 1)])
async def test_polls_of_an_idle_queue_are_shared(
    aclient: awa.AsyncClient, rows: Rows, claimed: list[str], others: int, fewest: int, most: int
) -> None:
    """A worker alone polls every second, one of a thousand every twenty."""
    crowd(rows, others)
    await idle(aclient, claimed)

    await asyncio.sleep(5)

    assert fewest <= len(claimed) <= most


@pytest.mark.parametrize(("others", "fewest", "most"), [(0, 50, 130), (999, 1, 15)])
async def test_few_workers_look_after_a_notification(
    aclient: awa.AsyncClient, rows: Rows, claimed: list[str], others: int, fewest: int, most: int
) -> None:
    """Of a hundred notifications in five seconds one of a thousand follows a handful."""
    crowd(rows, others)
    await idle(aclient, claimed)

    for _ in range(100):
        rows.all("SELECT pg_notify('awa:default', '')")
        await asyncio.sleep(0.05)

    assert fewest <= len(claimed) <= most


async def test_a_job_that_nobody_else_takes_is_found_soon(
    aclient: awa.AsyncClient, rows: Rows, claimed: list[str]
) -> None:
    crowd(rows, 999)
    await idle(aclient, claimed)

    job = await aclient.insert(Noop())

    # Its look comes within two seconds, its poll only after twenty.
    await aeventually(lambda: rows.job(job.id)["state"] == "completed", timeout=6)


async def test_a_worker_that_does_not_listen_polls(
    aclient: awa.AsyncClient, rows: Rows, claimed: list[str]
) -> None:
    """Each notification costs the server a wake-up of each session that listens."""

    @aclient.task(Noop)
    async def noop(job: awa.Job) -> None: ...

    await aclient.start([("default", 10)], listens=False)
    await aeventually(lambda: claimed)
    job = await aclient.insert(Noop())

    await aeventually(lambda: rows.job(job.id)["state"] == "completed", timeout=5)

    here = (
        "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database()"
    )
    assert "awa worker: listener" not in {row["name"] for row in rows.all(here)}
    assert (await aclient.health_check()).healthy


async def test_a_kind_that_few_workers_run_keeps_them_eager(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    crowd(rows, 50)
    crowd(rows, 7, ("default", "other"), ("noop", "rare"))
    crowd(rows, 30, leaving=True)
    crowd(rows, 30, age=31)

    counted = aclient._run

    assert await counted(count_workers(["default"], ["noop"])) == {"default": 57}
    assert await counted(count_workers(["default"], ["noop", "rare"])) == {"default": 7}
    assert await counted(count_workers(["other", "none"], ["noop"])) == {"other": 7}


async def test_a_shared_row_is_renewed_by_one_of_many(aclient: awa.AsyncClient, rows: Rows) -> None:
    """A thousand workers must not wait for each other's commits of the same row."""

    async def publish(owner: str) -> list[tuple[str, str]]:
        given = Descriptors({"default": Descriptor(owner=owner)})
        await aclient._run(sync_descriptors(given, Descriptors(described(["noop"], {}))))
        return [
            tuple(rows.one(f"SELECT xmin::text, owner FROM awa.{table}").values())
            for table in ("queue_descriptors", "job_kind_descriptors")
        ]

    first = await publish("me")

    assert await publish("me") == first

    rows.all("UPDATE awa.queue_descriptors SET last_seen_at = now() - interval '6 s' RETURNING 1")
    aged = rows.one("SELECT xmin::text FROM awa.queue_descriptors")["xmin"]

    assert (await publish("me"))[0][0] != aged
    assert (await publish("you"))[0][1] == "you"
