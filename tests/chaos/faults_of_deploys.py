"""Workers replaced one after another, by themselves, by older and by newer code."""

from __future__ import annotations

import io
import signal
import subprocess
import tarfile
from functools import cache
from pathlib import Path

from faults_of_poison import ends_as
from fix_fleet import Fleet, Member
from fix_wait import eventually

import awa_lib as awa

ROOT = Path(__file__).resolve().parents[2]


def a_rolling_restart(fleet: Fleet) -> None:
    for member in fleet.living:
        _replace(fleet, member, proxied=member.proxied)


def a_rolling_deploy_with_a_new_kind(fleet: Fleet) -> None:
    """Its jobs wait for a worker that knows it; after the way back they wait again."""
    old = fleet.living
    with fleet.admin() as conn:
        first = _novel(conn)
        new = [_replace(fleet, m, proxied=m.proxied, ODDITY="new") for m in old]
        second = _novel(conn)
        ends_as(conn, {*first, *second}, {"completed"}, 20)
        back = [_replace(fleet, m, proxied=m.proxied) for m in new]
        third = _novel(conn)
        eventually(lambda: all(m.last.get("healthy") for m in back), 20)
        _still_available(fleet, conn, third)
        helper = fleet.spawn(ODDITY="new")
        ends_as(conn, third, {"completed"}, 20)
        helper.kill(signal.SIGTERM)
        helper.process.wait(15)


def a_rolling_deploy_of_an_older_release(fleet: Fleet) -> None:
    """Its code is of an earlier commit; then the newer one comes back."""
    older = {"PYTHONPATH": str(_release(fleet.folder))}
    old = [_replace(fleet, m, proxied=m.proxied, **older) for m in fleet.living]
    for member in old:
        _replace(fleet, member, proxied=member.proxied)


def _replace(fleet: Fleet, member: Member, **given: str | bool) -> Member:
    """Start the next one, then end this one, as a rolling deploy does."""
    follower = fleet.spawn(**given)
    eventually(lambda: follower.last.get("healthy"), 30)
    member.kill(signal.SIGTERM)
    if member.process.wait(15) != 0:
        fleet.problems.append(f"{member.name} ended with {member.process.returncode}")
    return follower


def _novel(conn) -> set[int]:
    jobs = awa.Client.on(conn).insert_many(
        awa.NewJob({"n": n}, kind="novel", queue="one", max_attempts=1) for n in range(20)
    )
    return {job.id for job in jobs}


def _still_available(fleet: Fleet, conn, ids: set[int]) -> None:
    rows = conn.execute(
        "SELECT state::text, attempt, count(*) FROM awa.jobs WHERE id = ANY(%s) GROUP BY 1, 2",
        [list(ids)],
    ).fetchall()
    if rows != [("available", 0, len(ids))]:
        fleet.problems.append(f"jobs of a kind that nobody knows: {rows}")


@cache
def _release(place: Path) -> Path:
    """Unpack the code as it was thirty changes ago."""
    git = ["git", "-C", str(ROOT)]
    log = [*git, "log", "--format=%H", "-n", "30", "--", "awa_lib"]
    commit = subprocess.run(log, check=True, capture_output=True, text=True).stdout.split()[-1]
    archive = subprocess.run(
        [*git, "archive", commit, "awa_lib", "sql"], check=True, capture_output=True
    ).stdout
    target = place / "release"
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(target, filter="data")
    return target
