"""Worker processes that end, die and stop, alone and under ``awa worker --processes``."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fix_fleet import WORKER, Fleet, Member
from fix_wait import eventually

STALE_SECONDS = 3.0
GROUP = (
    "worker", "worker_of_faults:client", "--processes", "2", "--rescue-after", "3",
    "--drain-timeout", "2", "--queue", "one=20", "--queue", "two=20",
)  # fmt: skip


def sigterm_of_a_worker(fleet: Fleet) -> None:
    member = fleet.random.choice(fleet.living)
    member.kill(signal.SIGTERM)
    if member.process.wait(15) != 0:
        fleet.problems.append(f"{member.name} ended with {member.process.returncode}")
    fleet.replace_dead()


def kill_9_of_a_worker(fleet: Fleet) -> None:
    fleet.random.choice(fleet.living).kill()
    time.sleep(1)
    fleet.replace_dead()


def a_stopped_leader(fleet: Fleet) -> None:
    leader = fleet.leader()
    leader.kill(signal.SIGSTOP)
    try:
        eventually(
            lambda: [m for m in fleet.living if m is not leader and m.last.get("leader")], 20
        )
    except BaseException as error:
        fleet.problems.append(f"no other process leads: {error!r}")
    finally:
        leader.kill(signal.SIGCONT)


def kill_9_of_the_leader(fleet: Fleet) -> None:
    leader = fleet.leader()
    leader.kill()
    leader.process.wait(10)
    fleet.replace_dead()
    eventually(fleet.leader, 15)


def a_worker_stopped_past_its_staleness(fleet: Fleet) -> None:
    """Its jobs are rescued; what it says of them when it goes on is refused."""
    member = fleet.random.choice(fleet.living)
    member.kill(signal.SIGSTOP)
    try:
        # One look for stale jobs, and the grace of another leader if it was the leader.
        time.sleep(STALE_SECONDS + 8 + 1)
    finally:
        member.kill(signal.SIGCONT)
    eventually(lambda: member.last.get("healthy"), 15)
    if b"no longer own" not in member.log.read_bytes():
        fleet.notes.append(f"{member.name} had no late ends")


def sigterm_amid_ends(fleet: Fleet) -> None:
    """While rows are locked, so that batches of ends wait and are written one by one."""
    member = fleet.random.choice(fleet.living)
    with fleet.admin() as conn, conn.transaction():
        conn.execute("SELECT FROM awa.jobs_hot WHERE state = 'running' LIMIT 10 FOR UPDATE")
        member.kill(signal.SIGTERM)
        time.sleep(0.5)
    if member.process.wait(15) != 0:
        fleet.problems.append(f"{member.name} ended with {member.process.returncode}")
    fleet.replace_dead()


class Child:
    """A process that is not ours: of a group."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                return None
        self.returncode = 0
        return 0

    def wait(self, seconds: float) -> int:
        eventually(lambda: self.poll() is not None, seconds)
        return 0


def _children(supervisor: Member) -> list[int]:
    path = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
    return [int(pid) for pid in path.read_text().split()]


@contextmanager
def _group(fleet: Fleet) -> Iterator[tuple[Member, list[Member]]]:
    """Two processes under ``awa worker``; all of them have ended after the block."""
    supervisor = fleet.spawn(
        words=(sys.executable, "-m", "awa_cli", *GROUP),
        ODDITY="supervised",
        PYTHONPATH=os.pathsep.join([str(WORKER.parent), os.environ.get("PYTHONPATH", "")]),
    )
    # It writes down nothing itself.
    fleet.members.remove(supervisor)
    children: list[Member] = []
    try:
        children += _adopted(fleet, supervisor)
        yield supervisor, children
    finally:
        if supervisor.alive:
            supervisor.kill(signal.SIGTERM)
            supervisor.process.wait(20)
        for child in children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def _adopted(fleet: Fleet, supervisor: Member, known: tuple[int, ...] = ()) -> list[Member]:
    """Wait for two children that work, and take the new ones into the fleet."""
    eventually(lambda: len(_children(supervisor)) == 2, 20)
    found = []
    for pid in set(_children(supervisor)) - set(known):
        child = object.__new__(Member)
        child.__dict__ |= supervisor.__dict__ | {
            "name": f"{supervisor.name}-{pid}",
            "_health": fleet.folder / f"{supervisor.name}-{pid}.health",
            "process": Child(pid),
            "_read": {},
        }
        fleet.members.append(child)
        found.append(child)
    eventually(lambda: all(child.last.get("healthy") for child in found), 30)
    return found


def kill_9_of_a_child(fleet: Fleet) -> None:
    """The supervisor starts another one."""
    with _group(fleet) as (supervisor, children):
        children[0].kill()
        children.extend(_adopted(fleet, supervisor, tuple(child.pid for child in children)))
        if not children[1].alive:
            fleet.problems.append("the other child has ended too")


def kill_9_of_a_supervisor(fleet: Fleet) -> None:
    """Its children drain and end: in their own time, not killed by anybody."""
    with _group(fleet) as (supervisor, children):
        supervisor.kill()
        supervisor.process.wait(10)
        for child in children:
            eventually(lambda child=child: not child.alive, 2 + 3 + 2)


def kill_9_of_a_process_group(fleet: Fleet) -> None:
    """Supervisor and children at once: as the kernel does with a container."""
    with _group(fleet) as (supervisor, children):
        for member in (supervisor, *children):
            member.kill()


def a_second_signal_to_a_supervisor(fleet: Fleet) -> None:
    with _group(fleet) as (supervisor, children):
        for child in children:
            child.hurt = True
        supervisor.kill(signal.SIGTERM)
        eventually(lambda: b"stopping" in supervisor.log.read_bytes(), 10)
        supervisor.kill(signal.SIGTERM)
        supervisor.process.wait(5)
        for child in children:
            eventually(lambda child=child: not child.alive, 5)
