"""Every kind of fault in turn, under load: each job ends as its handler decided.

The short form is one round of chosen faults.  The long form (``-m soak``) plays all of them in
random order: ``FAULTS_SEED`` and ``FAULTS_SECONDS`` say which order and how long.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from faults import ALL, SHORT, Fault
from fix_fleet import QUEUES, SLOTS, Fleet, states_of
from fix_wait import eventually

import awa_lib as awa

pytestmark = pytest.mark.chaos


@contextmanager
def running(seed: int) -> Iterator[Fleet]:
    place = Path(tempfile.mkdtemp(prefix="awa-faults-"))
    place.chmod(0o755)
    fleet = Fleet(place, seed)
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.close()
        if "FAULTS_KEEP" in os.environ:
            print(place)
        else:
            shutil.rmtree(place)


def play(fleet: Fleet, faults: list[Fault]) -> None:
    fleet.settled(20)
    for fault in faults:
        fleet.notes.append(f"{datetime.now(UTC):%H:%M:%S} {fault.__name__}")
        before = len(fleet.problems)
        try:
            fault(fleet)
        except (Exception, pytest.fail.Exception) as error:
            fleet.problems.append(f"{type(error).__name__}: {error}")
        fleet.settled()
        if len(fleet.problems) > before:
            fleet.problems.append(f"... after {fault.__name__}")


def finish(fleet: Fleet) -> list[str]:
    """Let everything end, prove every slot, and judge."""
    fleet.stop_load()
    left = (
        "SELECT id, kind, queue, state::text, attempt, run_at, metadata, errors FROM awa.jobs "
        "WHERE state NOT IN ('completed', 'failed', 'cancelled')"
    )
    with fleet.admin() as conn:
        try:
            eventually(lambda: not conn.execute(left).fetchall(), 40)
        except BaseException:
            fleet.problems.append(f"not ended: {conn.execute(left).fetchall()[:5]}")
        guests, room = SLOTS * len(fleet.living), f"room-{time.monotonic()}"
        jobs = awa.Client.on(conn).insert_many(
            awa.NewJob(
                {"room": room, "guests": guests},
                kind="meeting",
                queue=QUEUES[n % 2],
                max_attempts=1,
            )
            for n in range(guests)
        )
        # All of one room.
        try:
            eventually(lambda: states_of(conn, jobs) == {"completed"}, 30)
        except BaseException as error:
            fleet.problems.append(f"slots are missing: {error!r}")
        eventually(lambda: all(m.last.get("in_flight") == 0 for m in fleet.living), 10)
        rows = conn.execute(
            "SELECT pid, healthy, leader FROM awa.runtime_instances WHERE pid = ANY(%s) "
            "AND last_seen_at > now() - interval '1 minute'",
            ([m.pid for m in fleet.living],),
        ).fetchall()
        if sorted(pid for pid, healthy, _ in rows if healthy) != sorted(
            m.pid for m in fleet.living
        ):
            fleet.problems.append(f"published: {rows}")
    return fleet.judge()


def test_faults_in_turn() -> None:
    with running(7) as fleet:
        play(fleet, SHORT)
        problems = finish(fleet)
        print("\n".join([*fleet.notes, *problems[:50]]))
    assert problems == []


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_all_faults_in_random_order() -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.randrange(10_000))
    until = time.monotonic() + float(os.environ.get("FAULTS_SECONDS") or 300)
    print(f"FAULTS_SEED={seed}")
    with running(seed) as fleet:
        while time.monotonic() < until:
            for fault in fleet.random.sample(ALL, len(ALL)):
                if time.monotonic() < until:
                    play(fleet, [fault])
        problems = finish(fleet)
        print("\n".join([*fleet.notes, *problems[:50]]))
    assert problems == []
