"""Play faults on a fleet: each alone, or two at a time."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from faults import PATIENCE, Fault
from fix_fleet import QUEUES, SLOTS, Fleet, states_of
from fix_wait import eventually

import awa_lib as awa

_LEFT = (
    "SELECT id, kind, queue, state::text, attempt, run_at, metadata, errors FROM awa.jobs "
    "WHERE state NOT IN ('completed', 'failed', 'cancelled') AND kind <> 'tick' LIMIT 5"
)


@contextmanager
def running(seed: int, rate: int = 300, direct: int = 1) -> Iterator[Fleet]:
    """A fleet under load, in a folder of its own."""
    place = Path(tempfile.mkdtemp(prefix="awa-faults-"))
    place.chmod(0o755)
    fleet = None
    try:
        fleet = Fleet(place, seed, rate, direct)
        fleet.start()
        yield fleet
    finally:
        if fleet is not None:
            fleet.close()
        if "FAULTS_KEEP" in os.environ:
            print(place)
        else:
            shutil.rmtree(place)


def play(fleet: Fleet, *faults: Fault) -> float:
    """Play faults at the same time; return the seconds until all that survived worked again."""
    names = " and ".join(fault.__name__ for fault in faults)
    before, members = len(fleet.problems), fleet.living
    threads = [
        threading.Thread(target=_play, args=(fleet, fault, len(faults) > 1)) for fault in faults
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    fleet.restore()
    patience = max(PATIENCE.get(fault, 10) for fault in faults)
    seconds = fleet.settled(patience, of=members)
    fleet.notes.append(f"{datetime.now(UTC):%H:%M:%S} {names}: worked after {seconds:.1f} s")
    if len(fleet.problems) > before:
        fleet.problems.append(f"... after {names}")
    return seconds


def _play(fleet: Fleet, fault: Fault, mixed: bool) -> None:
    try:
        fault(fleet)
    except (Exception, pytest.fail.Exception) as error:
        # What one fault does may end the connection, or the patience, of the other.
        if not mixed:
            fleet.problems.append(f"{fault.__name__}: {type(error).__name__}: {error}")


def finish(fleet: Fleet) -> list[str]:
    """Let everything end, prove every slot, and judge."""
    fleet.load.stop()
    with fleet.admin() as conn:
        _expect_none(fleet, conn, _LEFT)
        _prove_slots(fleet, conn)
        rows = conn.execute(
            "SELECT pid, healthy, leader FROM awa.runtime_instances WHERE pid = ANY(%s) "
            "AND last_seen_at > now() - interval '1 minute'",
            ([m.pid for m in fleet.living],),
        ).fetchall()
        if sorted(pid for pid, healthy, _ in rows if healthy) != sorted(
            m.pid for m in fleet.living
        ):
            fleet.problems.append(f"published: {rows}")
        # A schedule would go on: what it inserted must end too.
        awa.Client.on(conn).pause_cron_job("every-second")
        _expect_none(fleet, conn, _LEFT.replace("AND kind <> 'tick'", ""))
    return fleet.finish()


def _expect_none(fleet: Fleet, conn: psycopg.Connection, left: str) -> None:
    """Note jobs that do not end; those that were in two crashes run one after the other."""
    try:
        eventually(lambda: not conn.execute(left).fetchall(), 600)
    except BaseException:
        fleet.problems.append(f"not ended: {conn.execute(left).fetchall()}")


def _prove_slots(fleet: Fleet, conn: psycopg.Connection) -> None:
    guests, room = SLOTS * len(fleet.living), f"room-{time.monotonic()}"
    jobs = awa.Client.on(conn).insert_many(
        awa.NewJob(
            {"room": room, "guests": guests}, kind="meeting", queue=QUEUES[n % 2], max_attempts=1
        )
        for n in range(guests)
    )
    try:
        # The judge deletes those that it has judged.
        eventually(lambda: states_of(conn, jobs) <= {"completed"}, 30)
    except BaseException as error:
        fleet.problems.append(f"slots are missing: {error!r}")
    try:
        eventually(lambda: all(m.last.get("in_flight", 9) <= 1 for m in fleet.living), 10)
    except BaseException as error:
        fleet.problems.append(f"handlers have not ended: {error!r}")
