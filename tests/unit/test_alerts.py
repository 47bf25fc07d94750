"""Alerts: what goes wrong, since when, what to do, and the worst harm first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from awa_cli.views import alerts, words, workers
from awa_cli.views.alerts import ALERT_STYLES, Alert, find_alerts
from awa_lib.reads.incidents import FailingKind, Incidents
from awa_lib.reads.queues import QueueStat
from awa_lib.reads.runtime import RuntimeInstance

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass: the module may have been imported long before its tests run."""
    for module in (alerts, words, workers):
        monkeypatch.setattr(module, "now", lambda: NOW)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def stat(queue: str = "mail", **counts) -> QueueStat:
    names = [name for name in QueueStat.__dataclass_fields__ if name not in {"queue", "paused"}]
    values = dict.fromkeys(names, 0) | {"lag_seconds": None, "paused": False} | counts
    return QueueStat(queue, **values)


def worker(
    *queues: str, used: int = 0, waiting: int = 0, limit: int = 10, **more
) -> RuntimeInstance:
    fields = {
        "instance_id": "i",
        "hostname": "h",
        "pid": 7,
        "version": "1",
        "app_version": None,
        "storage_capability": "c",
        "started_at": ago(3600),
        "last_seen_at": ago(2),
        "snapshot_interval_ms": 10_000,
        "stale": False,
        "session_ended": False,
        "rescued_at": None,
        "healthy": True,
        "postgres_connected": True,
        "poll_loop_alive": True,
        "heartbeat_alive": True,
        "maintenance_alive": True,
        "shutting_down": False,
        "leader": True,
        "global_max_workers": None,
        "queues": [
            {
                "queue": name,
                "in_flight": used,
                "waiting": waiting,
                "config": {"max_workers": limit},
            }
            for name in queues or ("mail",)
        ],
    }
    return RuntimeInstance(**{**fields, **more})


def failing(kind: str = "send_mail", **more) -> FailingKind:
    fields = {
        "queues": ["mail"],
        "attempts": 2000,
        "failed": 1980,
        "since": ago(600),
        "failure": "3f9a",
        "error_type": "shop.mail.MailDown",
        "message": "mail server <n> is down",
    }
    return FailingKind(kind, **{**fields, **more})


def rules(*given) -> list[str]:
    return [one.rule for one in find_alerts(*given)]


@pytest.mark.parametrize(
    ("queues", "fleet", "text", "do"),
    [
        (
            [stat(available=1204, lag_seconds=40)],
            [worker("other")],
            "mail has 1,204 jobs and no worker",
            "awa worker MODULE:CLIENT --queue mail",
        ),
        (
            [stat(available=1, lag_seconds=40)],
            [],
            "no worker is running, and 1 job could run",
            "awa worker MODULE:CLIENT",
        ),
        (
            [],
            [worker(leader=False)],
            "no leader: nothing is promoted, rescued or cleaned up",
            "awa doctor --check leader",
        ),
        (
            [stat("a b", available=3, paused=True)],
            [worker("a b")],
            "a b is paused, and 3 jobs could run",
            "awa queue resume 'a b'",
        ),
        (
            [],
            [worker(healthy=False, heartbeat_alive=False)],
            "h:7 is degraded: stopped: heartbeat",
            "awa workers -o wide",
        ),
        (
            [stat(available=4, lag_seconds=900)],
            [worker(used=3)],
            "mail is late: 4 jobs wait, the oldest for 15m",
            "awa queue show mail",
        ),
        (
            [stat(available=1204, lag_seconds=45)],
            [worker(used=10), worker(used=10, instance_id="j")],
            "mail is full: all 20 slots are taken, and 1,204 jobs wait, the oldest for 45s",
            "awa queue show mail",
        ),
        (
            [stat(available=9, lag_seconds=45)],
            [worker(used=10, waiting=8)],
            "mail is blocked: waits for callbacks hold 8 of 10 slots, and 9 jobs wait",
            "awa queue show mail",
        ),
        (
            [],
            [
                worker(),
                worker(stale=True, last_seen_at=ago(50), used=4, leader=False, instance_id="j"),
            ],
            "h:7 fell silent with 4 jobs in flight: the leader rescues them",
            "awa workers --all -o wide",
        ),
        (
            [],
            [
                worker(),
                worker(stale=True, last_seen_at=ago(50), leader=False, instance_id="j"),
            ],
            "h:7 fell silent: killed, hung or cut off",
            "awa workers --all -o wide",
        ),
        (
            [],
            [
                worker(),
                worker(
                    stale=True,
                    session_ended=True,
                    rescued_at=ago(3),
                    last_seen_at=ago(14),
                    used=4,
                    instance_id="j",
                ),
            ],
            "h:7 fell silent: its session has ended, its jobs were rescued 3s ago",
            "awa workers --all -o wide",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(queues, fleet, text, do) -> None:
    (alert,) = find_alerts(queues, fleet)

    assert (text, do) == (alert.text, alert.do)


def test_a_failing_kind_leads_to_its_failure() -> None:
    (alert,) = find_alerts([], [], Incidents([failing()]))

    text = "send_mail fails in 1,980 of 2,000 attempts: MailDown: mail server <n> is down"
    assert text == alert.text
    assert ("failure", "3f9a", ago(600)) == (alert.page, alert.subject, alert.since)
    assert "awa failure show 3f9a" == alert.do
    (alert,) = find_alerts([], [], Incidents([failing(failure=None, message=None)]))
    assert ("failures", None) == (alert.page, alert.subject)
    assert "awa failure list --kind send_mail" == alert.do


def test_an_alert_says_since_when() -> None:
    (late,) = find_alerts([stat(available=4, lag_seconds=900)], [worker()])
    (gone,) = find_alerts(
        [stat(available=1, lag_seconds=60)],
        [worker(stale=True, shutting_down=True, last_seen_at=ago(70))],
    )

    assert late.since is not None
    assert abs(late.since - ago(900)) < timedelta(seconds=60)
    assert ("no-workers", ago(70)) == (gone.rule, gone.since)


def test_nothing_is_wrong_with_a_queue_that_is_worked() -> None:
    assert [] == find_alerts([stat(available=5, lag_seconds=3.0)], [worker()])
    assert [] == find_alerts([stat(available=5, lag_seconds=3.0)], [worker(used=10)])


@pytest.mark.parametrize(
    "fleet",
    [
        # A start: the first report is written before the loops run, and nobody was elected.
        [worker(started_at=ago(2), leader=False, healthy=False, maintenance_alive=False)],
        # A clean stop, at once and after the row has become stale.
        [worker(), worker(shutting_down=True, healthy=False, leader=False, instance_id="j")],
        [worker(), worker(shutting_down=True, stale=True, last_seen_at=ago(90), instance_id="j")],
        # The leader drains: it has handed over, and the next one is not known yet.
        [worker(leader=False), worker(shutting_down=True, used=3, leader=False, instance_id="j")],
        # Only the old release is left for some seconds, or nobody.
        [worker(shutting_down=True, stale=False)],
        [],
    ],
)
def test_a_deploy_is_quiet(fleet) -> None:
    assert [] == find_alerts([stat(available=5, lag_seconds=8.0)], fleet)


def test_a_kill_during_a_stop_is_no_clean_stop() -> None:
    killed = worker(shutting_down=True, stale=True, used=2, last_seen_at=ago(60), leader=False)

    assert ["silent"] == rules([], [worker(instance_id="j"), killed])


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        ({"used": 2, "last_seen_at": ago(20)}, "silent"),
        ({"used": 2, "last_seen_at": ago(320), "rescued_at": ago(299)}, "gone"),
        ({"used": 2, "last_seen_at": ago(320), "rescued_at": ago(301)}, None),
        ({"last_seen_at": ago(299)}, "gone"),
        ({"last_seen_at": ago(301)}, None),
    ],
)
def test_a_dead_worker_is_history_once_its_jobs_run_again(more, rule) -> None:
    dead = worker(stale=True, instance_id="j", **more)

    assert ([] if rule is None else [rule]) == rules([], [worker(), dead])
    assert (rule is not None) == workers.is_recent(dead)


def test_the_death_of_the_leader_is_no_lack_of_one_while_another_is_elected() -> None:
    dead = worker(stale=True, last_seen_at=ago(5), instance_id="j")
    long_dead = worker(stale=True, last_seen_at=ago(40), instance_id="j")

    assert ["gone"] == rules([], [worker(leader=False), dead])
    assert ["no-leader", "gone"] == rules([], [worker(leader=False), long_dead])


def test_a_silent_worker_is_history_after_an_hour() -> None:
    gone = worker(stale=True, used=2, leader=False, last_seen_at=ago(1200), instance_id="j")
    old = worker(stale=True, used=2, leader=False, last_seen_at=ago(7200), instance_id="k")

    assert ["gone"] == rules([], [worker(), gone])
    assert [] == find_alerts([], [worker(), old])


def test_slots_that_are_shared_are_full_together() -> None:
    shared = worker("mail", "slow", used=4, limit=None, global_max_workers=8)

    assert ["full"] == rules([stat(available=5, lag_seconds=60)], [shared])
    assert [] == rules(
        [stat(available=5, lag_seconds=60)],
        [worker("mail", "slow", used=4, limit=None, global_max_workers=9)],
    )


def test_lag_grows_when_the_last_job_will_wait_longer_than_the_oldest_has() -> None:
    busy = [stat(available=12_000, lag_seconds=130)]
    slow = Incidents(ends={"mail": {0: 900, 1: 60, 2: 60, 3: 6000}})
    quick = Incidents(ends={"mail": {1: 6000, 2: 6000}})

    (alert,) = find_alerts(busy, [worker(used=3)], slow)
    assert "mail falls behind: 12,000 jobs wait, the last for 3h20m" == alert.text
    assert [] == find_alerts(busy, [worker(used=3)], quick)
    # Workers of awa 0.5 count no ends.
    assert [] == find_alerts(busy, [worker(used=3)], Incidents())


def test_alerts_are_ranked_by_harm_and_never_by_oddity() -> None:
    queues = [
        stat("paused", available=9, paused=True, lag_seconds=900),
        stat("late", available=2, lag_seconds=900),
        stat("full", available=20, lag_seconds=900),
        stat("few", available=1, lag_seconds=900),
        stat("many", available=50, lag_seconds=900),
    ]
    fleet = [
        worker("late", "paused", healthy=False, leader=False),
        worker("full", used=10, leader=False),
    ]
    found = find_alerts(queues, fleet, Incidents([failing("a", failed=20), failing("b")]))

    expected = ["failing", "failing", "unworked", "unworked", "no-leader", "full", "late"]
    assert [*expected, "degraded", "paused"] == [one.rule for one in found]
    assert [1980, 20, 50, 1] == [one.jobs for one in found][:4]


def test_every_severity_has_a_style() -> None:
    found = {
        Alert(rule, "", "", "").severity for rule in ("failing", "silent", "full", "gone", "paused")
    }

    assert set(ALERT_STYLES) == found
