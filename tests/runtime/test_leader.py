"""One leader in the fleet, and what the fleet sees of each process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fix_wait import aeventually
from fix_worker import Noop, Rows, working

import awa_lib as awa

LOCK = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1096237407 AND objid = 1296124238 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def nothing(client: awa.AsyncClient) -> awa.AsyncClient:
    @client.task(Noop)
    async def handler(job: awa.Job) -> None: ...

    return client


async def leads(client: awa.AsyncClient) -> bool:
    return (await client.health_check()).leader


async def test_one_leads_and_the_other_takes_over(
    aclient: awa.AsyncClient, rows: Rows, database_url: str
) -> None:
    async with awa.AsyncClient(database_url) as other:
        async with working(nothing(other)):
            async with working(nothing(aclient)):
                await aeventually(lambda: len(rows.all(LOCK)) == 1)
                await aeventually(lambda: _one_of(aclient, other))
                first = aclient if await leads(aclient) else other
                second = other if first is aclient else aclient
                await first.shutdown()
                await aeventually(lambda: leads(second))

                assert len(rows.all(LOCK)) == 1


async def test_a_leader_that_stops_hands_over_at_once(database_url: str) -> None:
    """Candidates try every five seconds at least; here they would not for most of the test."""
    options = {"leader_election_interval_ms": 60_000}
    clients = [nothing(awa.AsyncClient(database_url)) for _ in range(4)]
    for client in clients:
        await client.start([("default", 1)], **options)
    try:
        await aeventually(lambda: _one_of(*clients))
        while len(clients) > 1:
            (leader,) = [client for client in clients if await leads(client)]
            clients.remove(leader)
            await leader.close()
            await aeventually(lambda: _one_of(*clients), 1)
    finally:
        for client in clients:
            await client.close()


async def test_who_stops_to_lead_gives_up_the_lock_at_once(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    async with working(nothing(aclient)):
        await aeventually(lambda: leads(aclient))
        runtime = aclient._runtime  # its connections must not end as garbage
        await aclient.shutdown()
        held = rows.all(LOCK)

    assert held == []
    assert runtime.shutting_down


async def _one_of(*clients: awa.AsyncClient) -> bool:
    return [await leads(client) for client in clients].count(True) == 1


async def test_leader_that_loses_its_connection_comes_back(
    aclient: awa.AsyncClient, rows: Rows
) -> None:
    async with working(nothing(aclient)):
        await aeventually(lambda: leads(aclient))
        pid = rows.one(LOCK)["pid"]
        rows.conn.execute("SELECT pg_terminate_backend(%s)", (pid,))

        def again() -> bool:
            return [row["pid"] for row in rows.all(LOCK)] not in ([], [pid])

        await aeventually(again)
        await aeventually(lambda: leads(aclient))


async def test_fleet_row_has_the_published_shape(aclient: awa.AsyncClient, rows: Rows) -> None:
    aclient.queue_descriptor("default", display_name="Default Q", tags=["x"])
    aclient.job_kind_descriptor("noop", owner="me")
    async with working(nothing(aclient), ("default", 3)):
        row = rows.one("SELECT * FROM awa.runtime_instances")
        queue = rows.one("SELECT * FROM awa.queue_descriptors")
        kind = rows.one("SELECT * FROM awa.job_kind_descriptors")
    after = rows.one("SELECT * FROM awa.runtime_instances")

    (entry,) = row["queues"]
    ours = {"waiting"}
    assert set(entry) - ours == {"queue", "in_flight", "overflow_held", "config"}
    assert set(entry["config"]) == {
        "mode",
        "max_workers",
        "min_workers",
        "weight",
        "global_max_workers",
        "poll_interval_ms",
        "deadline_duration_secs",
        "priority_aging_interval_secs",
        "rate_limit",
    }
    assert entry["config"]["mode"] == "hard_reserved"
    assert _whole_numbers(row["queues"])
    assert row["storage_capability"] == "canonical"
    assert row["snapshot_interval_ms"] == 10_000
    assert row["queue_descriptor_hashes"] == {"default": queue["descriptor_hash"]}
    assert row["job_kind_descriptor_hashes"] == {"noop": kind["descriptor_hash"]}
    assert (queue["display_name"], queue["tags"], kind["owner"]) == ("Default Q", ["x"], "me")
    assert (row["shutting_down"], after["shutting_down"], after["healthy"]) == (False, True, False)


def _whole_numbers(value: Any) -> bool:
    return "." not in json.dumps(value)


async def test_weighted_mode_in_the_fleet_row(aclient: awa.AsyncClient, rows: Rows) -> None:
    queue = {"name": "default", "min_workers": 1, "weight": 2}
    async with working(nothing(aclient), queue, global_max_workers=4):
        job = await aclient.insert(Noop())
        await aeventually(lambda: rows.job(job.id)["state"] == "completed")
        config = rows.one("SELECT queues FROM awa.runtime_instances")["queues"][0]["config"]

    assert config["mode"] == "weighted"
    assert (config["max_workers"], config["min_workers"], config["weight"]) == (None, 1, 2)


async def test_unknown_descriptor_is_refused(aclient: awa.AsyncClient) -> None:
    aclient.queue_descriptor("nowhere", owner="me")

    with pytest.raises(awa.AwaError, match="unknown queue 'nowhere'"):
        await nothing(aclient).start([("default", 1)])


async def test_duties_do_not_join_in_one_transaction(aclient: awa.AsyncClient, rows: Rows) -> None:
    """In a transaction that stays open, now() stands still and nothing becomes due."""
    often = {"promote_interval_ms": 1, "heartbeat_rescue_interval_ms": 1}
    async with working(nothing(aclient), **often):
        await aeventually(lambda: leads(aclient))
        for _ in range(30):
            stale = rows.one(
                "INSERT INTO awa.jobs (kind, state, attempt, heartbeat_at) "
                "VALUES ('other', 'running', 1, now() - interval '1 day') RETURNING id"
            )["id"]
            await aeventually(lambda: rows.job(stale)["state"] == "available")  # noqa: B023 - awaited in the same turn of the loop
