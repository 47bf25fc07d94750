"""The judge of windows: a true run leaves nothing behind, and each forged violation is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from history import keep
from judge import Judge, missed

import awa_lib as awa
from awa_lib.db.drive import run
from awa_lib.ops import claims

LEASE = 7
FIRST, SECOND, THIRD = (f"daily 2026-01-01T00:00:0{n}+00:00" for n in range(3))


@dataclass
class Run:
    """A database whose jobs the test runs by hand."""

    conn: psycopg.Connection[Any]
    judge: Judge
    lines: list[dict[str, Any]] = field(default_factory=list)

    def insert(self, kind: str = "ok", **args: Any) -> awa.Job:
        job = awa.Client.on(self.conn).insert(args, kind=kind)
        self.judge.acknowledge([job.id])
        return job

    def claim(self, *kinds: str, lease: int = LEASE) -> None:
        run(self.conn, claims.claim("default", list(kinds) or ["ok"], 10, None, lease=lease))

    def say(self, what: str, job: awa.Job, lease: int = LEASE, **more: Any) -> None:
        line = {"what": what, "id": job.id, "lease": lease, "t": 1.0, "at": 1.0, "by": "w0"}
        self.lines.append(line | more)

    def handle(self, job: awa.Job, lease: int = LEASE) -> None:
        self.say("start", job, lease)
        self.say("end", job, lease, promise="completed")

    def complete(self, job: awa.Job, lease: int = LEASE) -> None:
        self.conn.execute(
            "UPDATE awa.jobs_hot SET state = 'completed', finalized_at = now() "
            "WHERE id = %s AND run_lease = %s", [job.id, lease],
        )  # fmt: skip

    def live(self, kind: str = "ok", **args: Any) -> awa.Job:
        """Insert, claim, run and complete a job."""
        job = self.insert(kind, **args)
        self.claim(kind)
        self.handle(job)
        self.complete(job)
        return job

    def windows(self) -> None:
        for _ in range(3):
            self.judge.window()

    def problems(self) -> list[str]:
        self.windows()
        return self.judge.finish()

    def count(self, table: str) -> int:
        (count,) = self.conn.execute(f"SELECT count(*) FROM {table}").fetchone() or (-1,)
        return count


@pytest.fixture
def a_run(database_url: str) -> Iterator[Run]:
    with psycopg.connect(database_url, autocommit=True) as conn:
        keep(conn)
        lines: list[dict[str, Any]] = []

        def taken() -> list[dict[str, Any]]:
            found = list(lines)
            lines.clear()
            return found

        judge = Judge(database_url, taken, limits={"default": 2}, key_limits={})
        yield Run(conn, judge, lines)
        judge.close()


def test_a_true_run_is_forgotten(a_run: Run) -> None:
    for _ in range(2):
        first, second = a_run.live(), a_run.live("parent")
        a_run.live("child", parent=second.id)
        a_run.windows()

    assert a_run.problems() == []
    assert a_run.judge.judged == 6
    assert a_run.count("awa.jobs") == a_run.count("public.history") == 0
    assert not a_run.judge.acknowledged
    assert first.id != second.id


def test_what_goes_on_is_judged_when_it_has_ended(a_run: Run) -> None:
    job = a_run.insert()
    a_run.claim()
    a_run.handle(job)
    a_run.windows()
    before = a_run.judge.judged, a_run.judge.open
    a_run.complete(job)

    assert a_run.problems() == []
    assert (before, a_run.judge.judged) == ((0, 1), 1)


def test_a_window_that_failed_is_judged_by_the_next(a_run: Run) -> None:
    a_run.live()
    a_run.judge.window()
    a_run.conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'awa judge'"
    )
    with pytest.raises(psycopg.OperationalError):
        a_run.judge.window()

    assert a_run.problems() == []
    assert a_run.judge.judged == 1


def lost(r: Run) -> None:
    job = r.insert()
    r.conn.execute("SET application_name = 'awa judge'")
    r.conn.execute("DELETE FROM awa.jobs_hot WHERE id = %s", [job.id])
    r.conn.execute("DELETE FROM public.history WHERE id = %s", [job.id])


def still_available(r: Run) -> None:
    r.insert()


def completed_without_a_handler(r: Run) -> None:
    job = r.insert()
    r.claim()
    r.complete(job)


def failed_instead_of_completed(r: Run) -> None:
    job = r.insert()
    r.claim()
    r.say("start", job)
    r.say("end", job, promise="failed")
    r.conn.execute("UPDATE awa.jobs_hot SET state = 'failed', finalized_at = now()")


def completed_twice(r: Run) -> None:
    job = r.live()
    r.conn.execute("UPDATE awa.jobs_hot SET state = 'available' WHERE id = %s", [job.id])
    r.claim(lease=8)
    r.handle(job, 8)
    r.complete(job, 8)


def started_again_after_its_end(r: Run) -> None:
    job = r.live()
    r.windows()
    r.say("start", job)


def inserted_again_after_its_end(r: Run) -> None:
    job = r.live()
    r.windows()
    r.conn.execute(
        "INSERT INTO awa.jobs_hot (id, kind, args, state) OVERRIDING SYSTEM VALUE "
        "VALUES (%s, 'ok', '{}', 'available')", [job.id],
    )  # fmt: skip


def one_that_nothing_follows(r: Run) -> None:
    r.live("parent")


def one_that_follows_nothing(r: Run) -> None:
    r.live("child", parent=1_000_000)


def too_few_attempts(r: Run) -> None:
    r.live("flaky", n=1, fails=2)


def _crash(r: Run, job: awa.Job) -> None:
    r.conn.execute(
        "UPDATE awa.jobs_hot SET errors = ARRAY[jsonb_build_object('crash', 1, 'error', "
        "'heartbeat stale', 'at', '2026-01-01T00:00:00+00:00')] WHERE id = %s", [job.id],
    )  # fmt: skip


def rescued_from_the_living(r: Run) -> None:
    _crash(r, r.live())


def rescued_though_nobody_died(r: Run) -> None:
    job = r.live()
    r.judge.hurt.add("w0")
    r.judge.hurt_at.append(1_000_000.0)
    _crash(r, job)


def more_than_the_limit(r: Run) -> None:
    jobs = [r.insert() for _ in range(3)]
    r.claim()
    for job in jobs:
        r.handle(job)
        r.complete(job)


FORGED: dict[Callable[[Run], None], str] = {
    lost: "1 acknowledged jobs are lost",
    still_available: "1 jobs have not ended",
    completed_without_a_handler: "its handler said None",
    failed_instead_of_completed: "should be completed",
    completed_twice: "was completed and became available",
    started_again_after_its_end: "started again after it had ended",
    inserted_again_after_its_end: "changed after it had ended",
    one_that_nothing_follows: "what follows them do not fit",
    one_that_follows_nothing: "what follows them do not fit",
    too_few_attempts: "attempts do not fit",
    rescued_though_nobody_died: "rescued though no worker had died",
    rescued_from_the_living: "rescued though its worker lived",
    more_than_the_limit: "3 jobs of default run, 2 may",
}


@pytest.mark.parametrize("forge", FORGED, ids=lambda forge: forge.__name__)
def test_a_forged_violation_is_found(a_run: Run, forge: Callable[[Run], None]) -> None:
    a_run.live()
    forge(a_run)
    found = a_run.problems()

    assert any(FORGED[forge] in problem for problem in found), found


def test_a_fire_that_is_missing_is_found() -> None:
    assert missed(dict.fromkeys((FIRST, SECOND, THIRD), 1)) == []
    assert len(missed(dict.fromkeys((FIRST, THIRD), 1))) == 1
