"""Queues and kinds with their descriptors: stale and in drift, on both clients."""

from __future__ import annotations

from datetime import timedelta

import pytest

from awa_lib.db.drive import run
from awa_lib.descriptors import Descriptor
from awa_lib.ops.runtime import Descriptors, sync_descriptors


@pytest.fixture
def worker(look):
    """Publish a worker that declares queues and kinds with these hashes."""

    def worker(*, queues="{}", kinds="{}", ago=0):
        look(
            "INSERT INTO awa.runtime_instances (instance_id, pid, version, started_at,"
            " last_seen_at, snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive,"
            " heartbeat_alive, shutting_down, leader, queue_descriptor_hashes,"
            " job_kind_descriptor_hashes) VALUES (gen_random_uuid(), 1, 'x', now(), now() - %s,"
            " 10000, true, true, true, true, false, false, %s, %s) RETURNING 1",
            timedelta(seconds=ago), queues, kinds,
        )  # fmt: skip

    return worker


async def test_a_declared_queue(client, look, put) -> None:
    mail = Descriptor("Mail", "sends it", "ops", "https://x.test", ["t"], {"a": 1})
    run(look.conn, sync_descriptors(Descriptors({"mail": mail}), Descriptors({})))
    put(queue="mail")
    put(queue="other", state="failed")
    found = {one.queue: one for one in await client.list_queues()}

    one = found["mail"]
    assert (one.display_name, one.description, one.owner) == ("Mail", "sends it", "ops")
    assert (one.docs_url, one.tags, one.extra) == ("https://x.test", ["t"], {"a": 1})
    assert (one.available, one.total_queued, one.paused) == (1, 1, False)
    assert one.descriptor_last_seen_at is not None
    assert (found["other"].display_name, found["other"].failed) == (None, 1)


@pytest.mark.parametrize(
    ("ago", "interval_ms", "stale"),
    [(29, 1, False), (31, 1, True), (58, 20_000, False), (61, 20_000, True)],
)
async def test_stale_after_three_intervals_and_30_seconds(client, look, ago, interval_ms, stale):
    queues, kinds = Descriptors({"q": Descriptor()}), Descriptors({"k": Descriptor()})
    run(look.conn, sync_descriptors(queues, kinds))
    for table in ("queue_descriptors", "job_kind_descriptors"):
        look(
            f"UPDATE awa.{table} SET last_seen_at = now() - %s, sync_interval_ms = %s RETURNING 1",
            timedelta(seconds=ago), interval_ms,
        )  # fmt: skip

    (queue,), (kind,) = await client.list_queues(), await client.list_kinds()
    assert (queue.descriptor_stale, kind.descriptor_stale) == (stale, stale)


async def test_drift_is_between_live_workers_only(client, worker) -> None:
    worker(queues='{"q": "1", "same": "1"}', kinds='{"k": "1", "same": "1"}')
    worker(queues='{"q": "2", "same": "1"}', kinds='{"k": "2", "same": "1"}')
    worker(queues='{"same": "old"}', kinds='{"same": "old"}', ago=100)
    queues = {one.queue: one for one in await client.list_queues()}
    kinds = {one.kind: one for one in await client.list_kinds()}

    for found, drifts in ((queues, "q"), (kinds, "k")):
        assert found[drifts].descriptor_mismatch
        assert not found["same"].descriptor_mismatch
        assert found["same"].live_instances == 2


async def test_kinds_are_counted_by_state(client, put) -> None:
    for state in ("available", "available", "running", "failed", "waiting_external"):
        put(kind="k", state=state, queue="a")
    put(kind="k", state="completed", finalized_at="now", queue="b")
    put(kind="k", state="completed", finalized_at="2020-01-01", queue="c")
    put(kind="j", state="scheduled", run_at="2099-01-01")
    put(kind="j", state="retryable", run_at="2099-01-01")
    await client.flush_admin_metadata()
    j, k = await client.list_kinds()

    assert (j.kind, j.scheduled, j.retryable, j.job_count, j.queue_count) == ("j", 1, 1, 2, 1)
    assert (k.kind, k.available, k.running, k.failed, k.waiting_external) == ("k", 2, 1, 1, 1)
    assert (k.completed_last_hour, k.job_count, k.queue_count) == (1, 7, 2)


async def test_nothing_is_known_of_an_empty_database(client) -> None:
    assert (await client.list_queues(), await client.list_kinds()) == ([], [])
