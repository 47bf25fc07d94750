"""Snapshots of the lists with a panel, dead letters, activity and storage.

After a change that is meant to be seen: ``pytest tests/tui/test_snapshots_lists.py
--snapshot-update``, and look at what changed.  The findings of the doctor depend on the server; they
are tested in ``test_tui_doctor``.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta

import pytest
from fix_tui import TRACE
from test_snapshots import NOON, at, look_and_size, looks, settle  # noqa: F401 - fixtures

from awa_cli.tui.screens import activity, cron

pytestmark = pytest.mark.parametrize("still", [NOON], indirect=True, ids=["noon"])
DEAD_LETTER = 900_001


@pytest.fixture
def listed(seeded: datetime, look, monkeypatch) -> datetime:
    """Schedules, dead letters and bulk operations beside the seeded queue."""
    for module in (activity, cron):
        monkeypatch.setattr(module, "now", lambda: seeded)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    def ago(**span: float) -> datetime:
        return seeded - timedelta(**span)

    ids = ["0b0e4c1e-6f0e-4f6e-9b57-1f1d0a5d2b11", "1c1f5d2f-7a1f-4a7f-8c68-2a2e1b6e3c22"]
    look(
        "UPDATE awa.runtime_instances SET instance_id = %s, last_seen_at = %s",
        ids[0],
        ago(seconds=3),
    )
    schedules = [
        ("leap-day", "0 9 29 2 *", "send_email", "email"),
        ("nightly", "0 2 * * mon-fri", "report", "reports"),
        ("month-end", "30 18 L * *", "charge_card", "billing"),
    ]
    for name, expression, kind, queue in schedules:
        look(
            "INSERT INTO awa.cron_jobs (name, cron_expr, timezone, kind, queue, args, "
            "last_enqueued_at) VALUES (%s, %s, 'Europe/Berlin', %s, %s, '{\"format\": \"pdf\"}', %s)",
            name,
            expression,
            kind,
            queue,
            None if name == "leap-day" else ago(days=1),
        )
        if name != "leap-day":
            look(
                "INSERT INTO awa.cron_settings (name, paused_at, paused_by, declared_at) "
                "VALUES (%s, %s, 'ada', %s)",
                name,
                ago(minutes=5),
                ago(days=2),
            )
    error = {"attempt": 3, "at": ago(minutes=9).isoformat(), "error": TRACE}
    look(
        "INSERT INTO awa.jobs_hot (id, kind, queue, args, state, attempt, max_attempts, run_at, "
        "created_at, finalized_at, errors) SELECT id, 'send_email', 'email', "
        """'{"customer": 42}', 'failed', 3, 3, %s, %s, %s, ARRAY[%s::jsonb] """
        "FROM generate_series(%s::bigint, %s::bigint) AS id",
        ago(hours=1),
        ago(hours=1),
        ago(minutes=9),
        json.dumps(error),
        DEAD_LETTER,
        DEAD_LETTER + 11,
    )
    look(
        "INSERT INTO awa.dead_letters SELECT j.*, 'ConnectionError: smtp.example.org refused', %s "
        "FROM awa.jobs_hot AS j WHERE id >= %s",
        ago(minutes=8),
        DEAD_LETTER,
    )
    look("DELETE FROM awa.jobs_hot WHERE id >= %s", DEAD_LETTER)
    operations = [
        ("retry", "running", 1200, 480, None, {"kind": "send_email", "state": "failed"}),
        ("move_queue", "completed", 64, 64, ago(minutes=30), {"queue": "email"}),
    ]
    for number, (operation, state, total, processed, ended, where) in enumerate(operations):
        look(
            "INSERT INTO awa.bulk_operations (id, operation, filter, spec, state, last_id, "
            "total_matched, processed, submitted_by, submitted_at, started_at, finished_at) VALUES "
            "(%s, %s, %s, '{}', %s, 1, %s, %s, 'awa tui', %s, %s, %s)",
            ids[number],
            operation,
            json.dumps(where),
            state,
            total,
            processed,
            ago(minutes=31 * number + 1),
            ago(minutes=31 * number + 1),
            ended,
        )
    look("UPDATE awa.storage_transition_state SET entered_at = %s", ago(days=9))
    return seeded


@pytest.mark.parametrize("page_id", ["kinds", "workers", "cron", "dlq", "batches", "storage"])
def test_list(looks, listed, page_id) -> None:  # noqa: F811 - the fixture
    assert looks(screen=page_id)


def test_dead_letter(looks, listed) -> None:  # noqa: F811 - the fixture
    assert looks(at("dead_letter", DEAD_LETTER), screen="dlq")


def test_activity(looks, listed) -> None:  # noqa: F811 - the fixture
    async def before(pilot) -> None:
        await settle(pilot)

    assert looks(before, screen="activity")
