"""Jobs that harm the process that runs them: see ``poisons``."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import poisons
from fix_fleet import Fleet, Member
from fix_wait import eventually

import awa_lib as awa

_ENDED = {"completed", "failed", "cancelled"}


def a_poison_job(fleet: Fleet) -> None:
    """It kills its process at each attempt, and fails after five."""
    with _released(fleet):
        # In a queue without a deadline: one that passes soon after the death counts as a failure.
        job = _insert(fleet, ["kill"], max_attempts=25, queue="one")
        began = fleet.judge.seen["poison"]
        # The jobs that ran beside it run alone before it, each in its turn.
        _end(fleet, job, {"failed"}, 400)
        # The judge reads a window of all jobs at a time.
        eventually(lambda: fleet.judge.seen["poison"] - began == 5, 60)


def jobs_that_end_their_process(fleet: Fleet) -> None:
    """By SIGKILL, os._exit, a bad pointer, an endless recursion in C."""
    with _released(fleet):
        _end(fleet, _insert(fleet, poisons.DEADLY), {"failed"}, 60)


def jobs_that_fail_badly(fleet: Fleet) -> None:
    """They never end, swallow their cancel, eat memory, recurse, leave: nobody else notices."""
    living = fleet.living
    with _released(fleet):
        _end(fleet, _insert(fleet, poisons.FAILING), {"failed"}, 30)
        _end(fleet, _insert(fleet, poisons.IN_THREADS, "poison in a thread"), {"failed"}, 30)
    _all_live(fleet, living)
    _slots_come_back(fleet, living)


def jobs_that_do_odd_things(fleet: Fleet) -> None:
    """They leave a child behind with all sockets, and block the event loop past the staleness."""
    living = fleet.living
    with _released(fleet):
        _end(fleet, _insert(fleet, poisons.PASSING, queue="two"), {"completed"}, 30)
        _all_live(fleet, living)
        # The child outlives its worker, and must neither keep its sessions nor its leadership.
        for member in living:
            member.kill()
            member.process.wait(10)
        fleet.replace_dead()
        eventually(fleet.leader, 20)


def jobs_that_break_their_process(fleet: Fleet) -> None:
    """They close its files, stop its loop, ignore its signals: it goes on, or ends."""
    living = fleet.living
    for member in living:
        member.hurt = True
    with _released(fleet):
        for how in poisons.BREAKING:
            # A signal that is ignored is no failure.
            _end(fleet, _insert(fleet, [how]), {"failed", "completed"}, 30)
    for member in living:
        if member.alive:
            member.kill()
            member.process.wait(10)
    fleet.replace_dead()


def a_worker_whose_log_raises(fleet: Fleet) -> None:
    _odd_leader(fleet, fleet.spawn(ODDITY="raising logs"))


def a_worker_without_streams(fleet: Fleet) -> None:
    """It cannot write its log."""
    _odd_leader(fleet, fleet.spawn(ODDITY="closed streams"))


def _odd_leader(fleet: Fleet, member: Member) -> None:
    """Let a member lead for some seconds, with a job that is due later, and end well."""
    eventually(lambda: member.last.get("healthy"), 20)
    lead(fleet, member)
    soon = datetime.now(UTC) + timedelta(seconds=2)
    with fleet.admin() as conn:
        job = awa.Client.on(conn).insert({"sleep": 0}, kind="ok", queue="one", run_at=soon)
        ends_as(conn, {job.id}, {"completed"}, 15)
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'awa worker%'"
        )
    eventually(lambda: member.last.get("healthy"), 20)
    member.kill(signal.SIGTERM)
    if member.process.wait(15) != 0:
        fleet.problems.append(f"{member.name} ended with {member.process.returncode}")


def lead(fleet: Fleet, member: Member) -> None:
    """Take the leadership from others until this member has it."""

    def leads() -> bool:
        if member.last.get("leader"):
            return True
        with fleet.admin() as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'awa worker: leader' "
                "AND pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
            )
        time.sleep(1)
        return False

    eventually(leads, 60)


@contextmanager
def _released(fleet: Fleet) -> Iterator[None]:
    """Let everything that hangs end after the block."""
    sign: Path = fleet.folder / "released"
    sign.unlink(missing_ok=True)
    try:
        yield
    finally:
        sign.touch()


def _insert(
    fleet: Fleet,
    hows: Iterable[str],
    kind: str = "poison",
    max_attempts: int = 1,
    queue: str = "bad",
) -> set[int]:
    with fleet.admin() as conn:
        jobs = awa.Client.on(conn).insert_many(
            awa.NewJob({"how": how}, kind=kind, queue=queue, max_attempts=max_attempts)
            for how in hows
        )
    return {job.id for job in jobs}


def _end(fleet: Fleet, ids: set[int], states: set[str], seconds: float) -> None:
    """Wait until jobs have ended in one of these states, and replace processes that died."""
    with fleet.admin() as conn:
        ends_as(conn, ids, states, seconds, lambda: _replace(fleet))


def ends_as(conn, ids: set[int], states: set[str], seconds: float, meanwhile=None) -> None:
    """Wait until jobs have ended, each in one of these states."""
    last: dict[int, str] = {}

    def ended() -> bool:
        if meanwhile is not None:
            meanwhile()
        query = "SELECT id, state::text FROM awa.jobs WHERE id = ANY(%s)"
        found = dict(conn.execute(query, [list(ids)]).fetchall())
        last.update(found)
        # Those that are gone were judged, which nothing is before its end.
        return set(found.values()) <= _ENDED

    try:
        eventually(ended, seconds)
    except BaseException as error:
        raise AssertionError(f"not ended within {seconds} s: {last}") from error
    assert set(last.values()) <= states, last


def _replace(fleet: Fleet) -> None:
    for member in list(fleet.members):
        if not member.alive and not member.hurt:
            member.hurt = True
            fleet.judge.died.setdefault(member.name, time.time())
    fleet.replace_dead()


def _all_live(fleet: Fleet, members: list[Member]) -> None:
    fleet.problems += [f"{m.name} has ended" for m in members if not m.alive]


def _slots_come_back(fleet: Fleet, members: list[Member]) -> None:
    """Every slot of the queue of poison can be used again, in each process."""
    guests, room = 4 * len(members), f"bad-{time.monotonic()}"
    with fleet.admin() as conn:
        jobs = awa.Client.on(conn).insert_many(
            awa.NewJob(
                {"room": room, "guests": guests}, kind="meeting", queue="bad", max_attempts=1
            )
            for _ in range(guests)
        )
        ends_as(conn, {job.id for job in jobs}, {"completed"}, 20)
