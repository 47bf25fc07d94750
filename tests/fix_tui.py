"""The monitor, driven by a pilot against a real database."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fix_wait import aeventually
from textual.pilot import Pilot

from awa_cli.database.target import Target, describe
from awa_cli.tui import source
from awa_cli.tui.app import Monitor
from awa_cli.tui.screens import failures, job, overview, queue
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.confirm import Confirm
from awa_cli.views import alerts, words


class Driver:
    """A monitor, its pilot, and helpers for tests."""

    def __init__(self, app: Monitor, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def page(self) -> Page[Any]:
        assert self.app.page is not None
        return self.app.page

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def at(self, page_id: str) -> Page[Any]:
        """Wait until a page is shown and has data, and return it."""
        await aeventually(lambda: self.page.entry.id == page_id and self.page.value is not None)
        await self.pilot.pause()
        return self.page

    async def answer(self, key: str = "y") -> str:
        """Wait until a confirmation accepts keys, press a key, and return the question."""
        await aeventually(lambda: isinstance(self.app.screen, Confirm) and self.app.screen.ready)
        question = self.app.screen.change.question
        await self.press(key)
        await aeventually(lambda: not isinstance(self.app.screen, Confirm))
        return question

    def text(self) -> str:
        """Return the text on the screen."""
        lines = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in lines)

    async def shows(self, *parts: str) -> str:
        """Wait until all of these texts are on the screen."""
        await aeventually(
            lambda: all(part in self.text() for part in parts) or _missing(self, parts)
        )
        return self.text()


def _missing(driver: Driver, parts: tuple[str, ...]) -> bool:
    missing = [part for part in parts if part not in driver.text()]
    raise AssertionError(f"not on the screen: {missing}\n{driver.text()}")


@pytest.fixture
def monitor(database_url: str) -> Callable[..., Any]:
    """Run the monitor in a block: ``async with monitor(screen="queues") as driver``."""

    @asynccontextmanager
    async def run(
        size: tuple[int, int] = (100, 30), url: str = database_url, **options: Any
    ) -> AsyncIterator[Driver]:
        app = Monitor(describe(url), interval=0.1, ascii_only=False, **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            yield Driver(app, pilot)

    return run


TRACE = """ConnectionError: smtp.example.org refused
  File "/app/lib/awa_lib/runtime/executor.py", line 228, in outcome_of
    result = await handler.call(job)
  File "/app/mail.py", line 31, in send_email
    await server.connect()
          ^^^^^^^^^^^^^^^^"""


@pytest.fixture
def still(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Stop the clock of all ages, at the start of a bucket of the charts.

    A test of dates passes a moment as parameter; the clock of the database is not changed.
    """
    seconds = datetime.now(UTC).timestamp() // 60 * 60
    moment = getattr(request, "param", None) or datetime.fromtimestamp(seconds, UTC)
    for module in (alerts, failures, words, source, job, overview, queue):
        monkeypatch.setattr(module, "now", lambda: moment)
    # Times by the clock are those of a noon, whenever and wherever the test runs.
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    monkeypatch.setattr(words, "local", lambda then: noon + (then - moment))
    return moment


FAILURE = "3f9a2c81d0e1"


def fail_often(look: Callable[..., Any], still: datetime) -> None:
    """Seed the counts of attempts that fail for nine minutes, in one way."""
    began, now = still - timedelta(minutes=9), still - timedelta(seconds=20)
    frames = ["lib/smtp.py connect", "app/mail.py send_email"]
    look(
        "INSERT INTO awa.failures (id, rule, kind, error_type, message, frames, first_version,"
        " first_seen_at, last_seen_at, job_id) VALUES (%s, 1, 'send_email', 'builtins.ConnectionError',"
        " 'smtp.example.org refused', %s, '2.1', %s, %s, (SELECT max(id) FROM awa.jobs_hot))",
        FAILURE,
        frames,
        began,
        now,
    )
    for minutes in (1, 60):
        for at, outcome, ends in ((began, "retried", 1_997), (now, "failed", 3)):
            look(
                "INSERT INTO awa.job_ends VALUES (%s, %s, 'email', 'send_email', %s, %s, %s)",
                minutes,
                at,
                outcome,
                FAILURE,
                ends,
            )


@pytest.fixture
def seeded(put, look, still: datetime) -> datetime:
    """Seed jobs in all states; their times are relative to the stopped clock."""

    def ago(**span: float) -> datetime:
        return still - timedelta(**span)

    args = '{"customer": 42, "to": {"name": "Ada", "address": "ada@example.org"}, "tries": [1, 2]}'
    completed = []
    for number in range(60):
        at = ago(seconds=14 * number + 5)
        began = at - timedelta(seconds=number % 7 + 1)
        completed += [(args, began, at, at, began)] * (number % 5 + 1)
    # In one go: one at a time takes longer than all other rows.
    look.conn.cursor().executemany(
        "INSERT INTO awa.jobs (kind, queue, state, attempt, args, run_at, attempted_at,"
        " finalized_at, created_at)"
        " VALUES ('send_email', 'email', 'completed', 1, %s, %s, %s, %s, %s)",
        completed,
    )
    for number in range(4):
        # The database's clock goes on: a lag of hours stays the same for a minute.
        at = ago(hours=12, minutes=30, seconds=number)
        put(kind="resize", queue="images", run_at=at, created_at=at, priority=3)
    put(
        kind="import_orders",
        queue="imports",
        state="running",
        attempt=1,
        attempted_at=ago(seconds=42),
        heartbeat_at=ago(seconds=3),
        progress='{"percent": 40, "message": "line 400 of 1,000", "metadata": {"line": 400}}',
        args='{"path": "orders.csv"}',
        tags=["nightly"],
        created_at=ago(minutes=2),
        run_at=ago(minutes=2),
    )
    put(
        kind="report",
        queue="reports",
        state="scheduled",
        run_at=still + timedelta(hours=3),
        created_at=ago(minutes=20),
    )
    put(
        kind="charge_card",
        queue="billing",
        state="waiting_external",
        attempt=1,
        attempted_at=ago(minutes=4),
        callback_id="4f3c1c1e-6f0e-4f6e-9b57-1f1d0a5d2b11",
        callback_timeout_at=still + timedelta(minutes=26),
        created_at=ago(minutes=5),
        run_at=ago(minutes=5),
    )
    for number in range(3):
        at = ago(minutes=2 * number + 1)
        put(
            kind="send_email",
            queue="email",
            state="failed",
            attempt=3,
            max_attempts=3,
            args=args,
            attempted_at=at - timedelta(seconds=2),
            finalized_at=at,
            created_at=at - timedelta(minutes=4),
            run_at=at - timedelta(seconds=3),
            metadata='{"source": "shop"}',
            tags=["nightly", "mail"],
            unique_key=None,
        )
        entries = [
            {"attempt": n, "at": (at - timedelta(minutes=3 - n)).isoformat(), "error": TRACE}
            for n in (1, 2, 3)
        ]
        look(
            "UPDATE awa.jobs_hot SET errors = %s::jsonb[] WHERE id = (SELECT max(id) FROM awa.jobs_hot)",
            [json.dumps(entry) for entry in entries],
        )
    fail_often(look, still)
    config = {"max_workers": 20}
    queues = [
        {"queue": name, "in_flight": 1, "config": config}
        for name in ("email", "imports", "billing")
    ]
    look(
        "INSERT INTO awa.runtime_instances (instance_id, hostname, pid, version, started_at, last_seen_at,"
        " snapshot_interval_ms, healthy, postgres_connected, poll_loop_alive, heartbeat_alive,"
        " maintenance_alive, shutting_down, leader, queues) VALUES (gen_random_uuid(), 'worker-1', 4242,"
        " '0.1.0', %s, now() + interval '1 hour', 10000, true, true, true, true, true, false, true, %s)",
        ago(hours=5),
        json.dumps(queues),
    )
    look("INSERT INTO awa.queue_meta (queue, paused) VALUES ('reports', true)")
    look("SELECT awa.rebuild_admin_metadata()")
    return still


@pytest.fixture
def still_monitor(database_url: str, seeded: datetime) -> Callable[..., Monitor]:
    """Make a monitor that reads the seeded database once and shows another name of it."""

    def make(**options: Any) -> Monitor:
        target = Target(database_url, "app@db.example.org/shop")
        return Monitor(target, interval=3600, ascii_only=False, **options)

    return make
