"""Worker processes that end, die, stop, and are killed by a job."""

from __future__ import annotations

import signal
import time

from fix_fleet import Fleet, states_of
from fix_wait import eventually

import awa_lib as awa


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


def a_poison_job(fleet: Fleet) -> None:
    with fleet.admin() as conn:
        job = awa.Client.on(conn).insert({}, kind="poison", queue="two")
        until = time.monotonic() + 150
        while states_of(conn, [job]) != {"failed"}:
            for member in fleet.members:
                if member.process.poll() == -signal.SIGKILL:
                    member.hurt = True
            fleet.replace_dead()
            time.sleep(0.1)
            if time.monotonic() > until:
                fleet.problems.append("the poison job has not ended")
                break
        died = sum(line["what"] == "poison" for m in fleet.members for line in m.lines())
        fleet.notes.append(f"{died} workers died of poison")
    time.sleep(0.5)
    for member in fleet.members:
        member.hurt = member.hurt or member.process.poll() == -signal.SIGKILL
    fleet.replace_dead()
