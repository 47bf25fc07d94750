"""A server, two worker processes, a load and a ledger of what handlers did: for faults in turn."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
from fix_own_server import OwnServer
from fix_proxy import Proxy
from fix_wait import eventually
from history import keep, lines_of, problems, read
from psycopg.conninfo import make_conninfo

import awa_lib as awa

WORKER = Path(__file__).parent / "chaos" / "worker_of_faults.py"
SLOTS = 40
_MONOTONIC = time.time() - time.monotonic()
QUEUES = ("one", "two")


class Member:
    """A worker process with its ledger and what it says of its health."""

    def __init__(self, folder: Path, name: str, url: str, *, proxied: bool = False) -> None:
        self.name = name
        self.proxied = proxied
        self.log = folder / f"{name}.log"
        self._ledger = folder / f"{name}.ledger"
        self._health = folder / f"{name}.health"
        environment = os.environ | {"DATABASE_URL": url, "LEDGER": str(folder), "NAME": name}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(WORKER)], env=environment, start_new_session=True,
                stdout=log, stderr=log,
            )  # fmt: skip
        self.hurt = False
        """Killed or stopped: what it ran may have been rescued."""

    @property
    def pid(self) -> int:
        return self.process.pid

    def lines(self) -> list[dict[str, Any]]:
        """Return what its handlers wrote down."""
        return lines_of(self._ledger)

    @property
    def written(self) -> int:
        """Return how large its ledger is."""
        return self._ledger.stat().st_size if self._ledger.exists() else 0

    def health(self) -> list[dict[str, Any]]:
        """Return what it has said of its health of late."""
        return lines_of(self._health, 40_000)

    @property
    def last(self) -> dict[str, Any]:
        """Return what it said last, if that is not long ago."""
        said = self.health()
        return said[-1] if said and time.monotonic() - said[-1]["t"] < 3 else {}

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.hurt = self.hurt or number in (signal.SIGKILL, signal.SIGSTOP)
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass
class Outcome:
    """What a job must come to."""

    kind: str
    state: str
    attempts: int = 1


class Fleet:
    """Everything together."""

    def __init__(self, place: Path, seed: int, rate: int = 300) -> None:
        self.random = random.Random(seed)
        self.rate = rate
        self.folder = place / "ledger"
        self.server = OwnServer(place / "server")
        self.folder.mkdir()
        with awa.Client(self.server.url) as client:
            client.migrate()
        with self.admin() as conn:
            keep(conn)
        self.proxy = Proxy(self.server.socket)
        self.members: list[Member] = []
        self.jobs: dict[int, Outcome] = {}
        self.asked: dict[int, set[str]] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.answering = True
        self._over = threading.Event()
        self._number = 0
        self._threads: list[threading.Thread] = []

    # -- processes ---------------------------------------------------------------------------

    def spawn(self, *, proxied: bool = False) -> Member:
        url = self.server.url
        if proxied:
            url = make_conninfo(url, host="127.0.0.1", port=str(self.proxy.port))
        member = Member(self.folder, f"w{len(self.members)}", url, proxied=proxied)
        self.members.append(member)
        return member

    @property
    def living(self) -> list[Member]:
        return [m for m in self.members if m.alive]

    def replace_dead(self) -> None:
        """Start anew what has ended: as systemd would."""
        living = self.living
        for proxied in (True, False):
            if not any(m.proxied is proxied for m in living):
                self.spawn(proxied=proxied)

    def leader(self) -> Member:
        return eventually(lambda: [m for m in self.living if m.last.get("leader")], 20)[0]

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.server.url, autocommit=True, connect_timeout=5) as conn:
            yield conn

    # -- load --------------------------------------------------------------------------------

    def start(self) -> None:
        self.replace_dead()
        for work in (self._produce, self._answer):
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop_load(self) -> None:
        self._over.set()
        self._threads[0].join(20)

    def close(self) -> None:
        self._over.set()
        self.answering = False
        for thread in self._threads:
            thread.join(20)
        for member in self.members:
            with suppress(ProcessLookupError):
                os.killpg(member.pid, signal.SIGKILL)
            member.process.wait(20)
        self.proxy.stop()
        with suppress(ProcessLookupError, FileNotFoundError):
            self.server.signal(signal.SIGCONT)
        with suppress(subprocess.SubprocessError):
            self.server.stop()

    def _produce(self) -> None:
        conn = self._produce_until_over()
        if conn is not None:
            conn.close()

    def _produce_until_over(self) -> psycopg.Connection[Any] | None:
        conn: psycopg.Connection[Any] | None = None
        due = time.monotonic()
        while not self._over.is_set():
            batch = [self._new() for _ in range(self.rate // 10)]
            try:
                if conn is None:
                    conn = psycopg.connect(
                        self.server.url, autocommit=True, connect_timeout=2,
                        options="-c statement_timeout=5000",
                    )  # fmt: skip
                if self._behind(conn):
                    self._over.wait(0.2)
                    continue
                jobs = awa.Client.on(conn).insert_many([job for job, _ in batch])
            except (psycopg.Error, awa.AwaError):
                if conn is not None:
                    conn.close()
                conn = None
                self._over.wait(0.2)
                continue
            for job, (_, outcome) in zip(jobs, batch, strict=True):
                self.jobs[job.id] = outcome
            due = max(due + 0.1, time.monotonic() - 1)
            self._over.wait(max(0.0, due - time.monotonic()))
        return conn

    @staticmethod
    def _behind(conn: psycopg.Connection[Any]) -> bool:
        """Return whether the machine is too slow for the rate: a backlog would outlast the run."""
        waiting = conn.execute(
            "SELECT count(*) FROM (SELECT FROM awa.jobs_hot WHERE state = 'available' LIMIT 2001) w"
        ).fetchone()
        return waiting is not None and waiting[0] > 2_000

    def _new(self) -> tuple[awa.NewJob, Outcome]:
        self._number += 1
        number = self._number
        kind = self.random.choices(
            ("ok", "blocking", "raising", "flaky", "progress", "asking", "snoozing", "long"),
            (60, 6, 6, 8, 10, 4, 2, 2),
        )[0]
        outcome, options = Outcome(kind, "completed"), {}
        args: dict[str, Any] = {"n": number, "sleep": self.random.expovariate(100)}
        if kind == "raising":
            outcome.state = "failed"
            options = {"max_attempts": 1}
        elif kind == "flaky":
            args["fails"] = self.random.randint(1, 2)
            outcome.attempts += args["fails"]
        elif kind == "asking":
            options = {"max_attempts": 1}
        elif kind == "long":
            args["sleep"] = self.random.uniform(0.5, 2.5)
        queue = self.random.choice(QUEUES)
        return awa.NewJob(args, kind=kind, queue=queue, **options), outcome

    def _answer(self) -> None:
        conn = None
        while self.answering:
            time.sleep(0.1)
            try:
                if conn is None:
                    conn = psycopg.connect(
                        self.server.url, autocommit=True, connect_timeout=2,
                        options="-c statement_timeout=2000 -c lock_timeout=300",
                    )  # fmt: skip
                found = conn.execute(
                    "SELECT id, callback_id::text FROM awa.jobs_hot WHERE callback_id IS NOT NULL "
                    "AND state IN ('waiting_external', 'running', 'available')"
                ).fetchall()
                for job_id, callback in found:
                    if self.random.random() < 0.3:
                        with suppress(awa.CallbackNotFound):
                            awa.Client.on(conn).resume_external(callback, {"job": job_id})
            except (psycopg.Error, awa.AwaError):
                if conn is not None:
                    conn.close()
                conn = None
        if conn is not None:
            conn.close()

    # -- looking -----------------------------------------------------------------------------

    def settled(self, seconds: float = 10) -> None:
        """Wait until all living workers are healthy, one of them leads, and jobs flow."""
        began = time.monotonic()

        def well() -> bool:
            last = [m.last for m in self.living]
            return (
                all(said.get("healthy") for said in last)
                and sum(bool(said.get("leader")) for said in last) == 1
            )

        try:
            eventually(well, seconds)
            before = self.ends()
            eventually(lambda: self.ends() > before + 5_000, seconds)
        except BaseException as error:
            said = [(m.name, m.last.get("healthy"), m.last.get("troubled")) for m in self.living]
            self.problems.append(f"not settled within {seconds} s: {error!r} {said}")
        self.notes.append(f"settled after {time.monotonic() - began:.1f} s")

    def ends(self) -> int:
        """Return a number that grows with what handlers of the living do."""
        return sum(m.written for m in self.living)

    def expect_unhealthy(self, members: list[Member], since: float, seconds: float = 10) -> None:
        """Note who did not say in time that something is wrong."""
        for member in members:

            def told(member: Member = member) -> bool:
                return any(not h["healthy"] for h in member.health() if h["t"] > since)

            try:
                eventually(told, max(0.1, since + seconds - time.monotonic()))
            except BaseException:
                self.problems.append(f"{member.name} said it was healthy during an outage")

    def judge(self) -> list[str]:
        """Compare every job with what its handlers did."""
        with self.admin() as conn:
            rows = conn.execute(
                "SELECT id, kind, state::text, attempt, max_attempts, run_lease, "
                "coalesce(to_jsonb(errors), '[]'), metadata FROM awa.jobs"
            ).fetchall()
            history = read(conn, self._ledger(), cleans=False)
        safe = self._safe()
        return [
            *self.problems,
            *problems(history),
            *(problem for row in rows for problem in _judge_row(self, row, safe)),
        ]

    def _ledger(self) -> list[dict[str, Any]]:
        """Return what handlers, the producer and operators did."""
        return [
            *(line for member in self.members for line in member.lines()),
            *({"what": "inserted", "id": job_id} for job_id in self.jobs),
            *(
                {"what": "asked", "id": i, "for": what}
                for i, asked in self.asked.items()
                for what in asked
            ),
        ]

    def _safe(self) -> dict[int, list[float]]:
        """Return when attempts began that a rescue must not have taken from their worker."""
        safe: dict[int, list[float]] = defaultdict(list)
        for member in (one for one in self.members if not one.hurt):
            lines = member.lines()
            promised = {(n["id"], n["lease"]): n["promise"] for n in lines if "promise" in n}
            for line in (line for line in lines if line["what"] == "start"):
                # Without an end it may have been handed back by a process that has ended.
                default = "completed" if member.alive else ""
                if promised.get((line["id"], line["lease"]), default) == "completed":
                    safe[line["id"]].append(line["t"])
        return safe


def states_of(conn: psycopg.Connection[Any], jobs: list[awa.Job]) -> set[str]:
    """Return the states that these jobs are in."""
    rows = conn.execute(
        "SELECT state::text FROM awa.jobs WHERE id = ANY(%s)", ([job.id for job in jobs],)
    )
    return {state for (state,) in rows}


def _judge_row(fleet: Fleet, row: tuple[Any, ...], safe: dict[int, list[float]]) -> list[str]:
    job_id, kind, state, attempt, most, _, errors, _ = row
    outcome = fleet.jobs.get(job_id)
    if outcome is None or kind != outcome.kind:
        return []  # not acknowledged, or somebody else's
    crashes = [e for e in errors if "crash" in e]
    failures = [e for e in errors if "crash" not in e]
    said = f"job {job_id} ({kind}) {state} attempt {attempt}/{most}: {errors}"
    rescued = [datetime.fromisoformat(e["at"]).timestamp() - _MONOTONIC for e in crashes]
    if any(start < at for start in safe[job_id] for at in rescued):
        return [f"rescued though its worker lived: {said}"]
    if state == "failed" and crashes and len(crashes) >= min(most, 5):
        return []
    asked = fleet.asked.get(job_id, ())
    if "cancel" in asked and state == "cancelled":
        return []
    if state != outcome.state:
        return [f"should be {outcome.state}: {said}"]
    if "retry" in asked:
        return []
    spent = attempt if state == "failed" else attempt - 1
    if spent != len(failures) or attempt != outcome.attempts:
        return [f"attempts do not fit: {said}"]
    return []
