"""Hosts of workers whose clock is wrong, or steps while they work (libfaketime)."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from faults_of_poison import lead
from fix_fleet import Fleet, Member
from fix_wait import eventually

import awa_lib as awa

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
_RESCUED = "SELECT FROM public.history WHERE error LIKE 'heartbeat stale%' LIMIT 1"
OFFSETS = ("+1h", "-1h", "+1d")
# More often than this the library looks whether its file has changed.
_NOTICED_SECONDS = 0.5


def a_clock_an_hour_ahead(fleet: Fleet) -> None:
    _work_with(fleet, FAKETIME="+1h")


def a_clock_an_hour_behind(fleet: Fleet) -> None:
    _work_with(fleet, FAKETIME="-1h")


def a_clock_a_day_ahead(fleet: Fleet) -> None:
    _work_with(fleet, FAKETIME="+1d")


def a_monotonic_clock_a_day_ahead(fleet: Fleet) -> None:
    """Every clock of the process is off, also those that count from its start."""
    _work_with(fleet, FAKETIME="+1d", FAKETIME_DONT_FAKE_MONOTONIC="0")


def steps_of_a_clock(fleet: Fleet) -> None:
    """An hour on, two back, a day on, and right again, while it leads."""
    file = fleet.folder / "clock"
    file.write_text("+0")
    member = _spawn(
        fleet,
        FAKETIME_TIMESTAMP_FILE=str(file),
        FAKETIME_NO_CACHE="1",
        FAKETIME_UPDATE_TIMESTAMP_FILE="0",
    )
    lead(fleet, member)
    for offset in (*OFFSETS, "+0"):
        new = file.with_suffix(".new")
        new.write_text(offset)
        shutil.move(new, file)
        _observe(fleet, member, 3 + _NOTICED_SECONDS)
    _end(fleet, member)


def _work_with(fleet: Fleet, **clock: str) -> None:
    """Let a member lead; the rescue of another that was killed proves that it could rescue."""
    member = _spawn(fleet, **clock)
    lead(fleet, member)
    others = [one for one in fleet.living if one is not member]
    _observe(fleet, member, 2)
    with fleet.admin() as conn:
        awa.Client.on(conn).insert_many(
            awa.NewJob({"sleep": 8}, kind="long", queue="one") for _ in range(100)
        )
        # More than the member has slots; how the others share the rest is chance.
        busy = eventually(lambda: [one for one in others if one.last.get("in_flight", 0) > 15], 20)
        busy[0].kill()
        _observe(fleet, member, 60, until=lambda: conn.execute(_RESCUED).fetchone() is not None)
    _end(fleet, member)


def _spawn(fleet: Fleet, **clock: str) -> Member:
    if LIBRARY is None:
        raise RuntimeError("libfaketime is not installed: apt install libfaketime")
    given = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", **clock}
    member = fleet.spawn(LD_PRELOAD=str(LIBRARY), **given)
    eventually(lambda: member.last.get("healthy"), 30)
    return member


def _observe(
    fleet: Fleet, member: Member, seconds: float, until: Callable[[], bool] | None = None
) -> None:
    """Watch for what a wrong clock could cause; the judge sees rescues and doubled fires.

    With ``until`` it must come true within the seconds.
    """
    end = time.monotonic() + seconds
    with fleet.admin() as conn:
        while time.monotonic() < end and not (until is not None and until()):
            early = conn.execute(
                "SELECT fire, at FROM public.history WHERE fire IS NOT NULL "
                "AND at < split_part(fire, ' ', 2)::timestamptz"
            ).fetchall()
            ahead = conn.execute(
                "SELECT id, heartbeat_at, deadline_at FROM awa.jobs_hot WHERE state = 'running' "
                "AND (heartbeat_at NOT BETWEEN now() - interval '10 minutes' AND clock_timestamp()"
                " OR deadline_at > clock_timestamp() + interval '301 s')"
            ).fetchall()
            retries = conn.execute(
                "SELECT id, run_at FROM awa.scheduled_jobs "
                "WHERE state = 'retryable' AND run_at > now() + interval '1 minute'"
            ).fetchall()
            for what, rows in (("early", early), ("beats", ahead), ("retries", retries)):
                if rows:
                    fleet.problems.append(f"{what}: {rows[:3]}")
            time.sleep(0.5)
    if until is not None and time.monotonic() >= end:
        fleet.problems.append(f"{member.name} did not do its duty as the leader in {seconds} s")
    eventually(lambda: member.last.get("healthy"), 10)


def _end(fleet: Fleet, member: Member) -> None:
    member.kill(signal.SIGTERM)
    if member.process.wait(15) != 0:
        fleet.problems.append(f"{member.name} ended with {member.process.returncode}")
