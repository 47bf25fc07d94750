"""Alerts: what is wrong with queues and workers, in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from awa_cli.views.alerts import find_alerts
from awa_lib.reads.queues import QueueStat
from awa_lib.reads.runtime import RuntimeInstance


def stat(queue: str, **counts) -> QueueStat:
    names = [name for name in QueueStat.__dataclass_fields__ if name not in {"queue", "paused"}]
    values = dict.fromkeys(names, 0) | {"lag_seconds": None, "paused": False} | counts
    return QueueStat(queue, **values)


def worker(*queues: str, **more) -> RuntimeInstance:
    now = datetime.now(UTC)
    fields = {
        "instance_id": "i",
        "hostname": "h",
        "pid": 7,
        "version": "1",
        "storage_capability": "c",
        "started_at": now,
        "last_seen_at": now,
        "snapshot_interval_ms": 10_000,
        "stale": False,
        "healthy": True,
        "postgres_connected": True,
        "poll_loop_alive": True,
        "heartbeat_alive": True,
        "maintenance_alive": True,
        "shutting_down": False,
        "leader": True,
        "global_max_workers": None,
        "queues": [{"queue": name} for name in queues],
    }
    return RuntimeInstance(**{**fields, **more})


@pytest.mark.parametrize(
    ("queues", "fleet", "text"),
    [
        ([stat("email", available=1204)], [worker("other")], "email has 1,204 jobs and no worker"),
        ([stat("email", available=1)], [], "no worker is running, and 1 job could run"),
        ([], [worker(leader=False)], "no leader: nothing is promoted, rescued or cleaned up"),
        ([stat("a", available=3, paused=True)], [worker("a")], "a is paused, and 3 jobs could run"),
        ([], [worker(healthy=False)], "h:7 is degraded"),
        (
            [stat("a", available=1, lag_seconds=900)],
            [worker("a")],
            "the oldest job of a has waited 15m",
        ),
    ],
)
def test_what_is_wrong_is_said(queues, fleet, text) -> None:
    assert [text] == [alert.text for alert in find_alerts(queues, fleet)]


def test_nothing_is_wrong_with_a_queue_that_is_worked() -> None:
    assert [] == find_alerts([stat("a", available=5, lag_seconds=3.0)], [worker("a")])
