"""A load of all that jobs can do: producers, and somebody who answers callbacks."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg
from judge import Judge

import awa_lib as awa

# Of a thousand jobs; the rest are "ok".
SHARES = {
    "blocking": 30, "raising": 12, "flaky": 20, "progress": 30, "asking": 8, "snoozing": 8,
    "long": 2, "parent": 10,
}  # fmt: skip
_KINDS = ("ok", *SHARES)
_WEIGHTS = (1000 - sum(SHARES.values()), *SHARES.values())
_QUEUES = ("one", "two")
# Of jobs that only note that they ran: a large queue claims and ends many at once.
_IN_BULK = 0.8
_KEYS = 40
_BACKLOG = 8_000
# In the queue with limits, which is slow.
_FEW = 200
_UNJUDGED = 200_000
# A second: fewer and larger ones cost less.
_BATCHES = 4


class Load:
    """Threads that insert jobs at a rate, and answer those that ask."""

    def __init__(self, url: str, judge: Judge, seed: int, rate: int) -> None:
        self.rate = rate
        self.waits = 0
        """How often the producer waited, because too many jobs did."""
        self._url = url
        self._judge = judge
        self._random = random.Random(seed)
        self._number = 0
        self._over = threading.Event()
        self._answered = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=work, daemon=True)
            for work in (
                (self._insert_many, 1 / _BATCHES, self._over),
                (self._insert_some, 0.25, self._over),
                (self._answer, 0.2, self._answered),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Insert no more; callbacks are still answered."""
        self._over.set()
        for thread in self._threads[:2]:
            thread.join(20)

    def close(self) -> None:
        self._over.set()
        self._answered.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(20)

    def _repeat(
        self, work: Callable[[psycopg.Connection[Any]], None], seconds: float, over: threading.Event
    ) -> None:
        """Do it again and again, on a connection that is made anew when it fails."""
        conn: psycopg.Connection[Any] | None = None
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            due = max(due + seconds, time.monotonic() - 1)
            try:
                if conn is None:
                    conn = psycopg.connect(
                        self._url, autocommit=True, connect_timeout=2,
                        options="-c statement_timeout=5000 -c lock_timeout=1000",
                    )  # fmt: skip
                work(conn)
            except (psycopg.Error, awa.AwaError):
                if conn is not None:
                    conn.close()
                conn = None
                over.wait(0.2)
        if conn is not None:
            conn.close()

    def _insert_many(self, conn: psycopg.Connection[Any]) -> None:
        count = self.rate // _BATCHES
        if len(self._judge.acknowledged) > _UNJUDGED:
            # The judge is slower than the workers, who still need work.
            self.waits += 1
            count //= 20
        row = conn.execute(
            "SELECT count(*) FROM (SELECT FROM awa.jobs_hot WHERE state = 'available' LIMIT %s) w",
            [_BACKLOG],
        ).fetchone()
        if row is not None and row[0] == _BACKLOG:
            # The machine is too slow for the rate: a backlog would outlast the run.
            self.waits += 1
            return
        kinds = self._random.choices(_KINDS, _WEIGHTS, k=count)
        jobs = awa.Client.on(conn).insert_many_copy([self._new(kind) for kind in kinds])
        self._judge.acknowledge(job.id for job in jobs)

    def _new(self, kind: str) -> awa.NewJob:
        self._number += 1
        args: dict[str, Any] = {"n": self._number}
        options: dict[str, Any] = {}
        if kind == "ok" and self._random.random() < _IN_BULK:
            return awa.NewJob(args | {"sleep": 0}, kind=kind, queue="many")
        if kind in ("ok", "blocking", "progress"):
            args["sleep"] = self._random.expovariate(500)
        elif kind in ("raising", "asking"):
            options = {"max_attempts": 1}
        elif kind == "flaky":
            args["fails"] = self._random.randint(1, 2)
        elif kind == "long":
            args["sleep"] = self._random.uniform(0.5, 2.5)
        return awa.NewJob(args, kind=kind, queue=_QUEUES[self._number % 2], **options)

    def _insert_some(self, conn: psycopg.Connection[Any]) -> None:
        """Insert unique jobs, most of which exist, and jobs of a queue with limits."""
        client = awa.Client.on(conn)
        for _ in range(5):
            job = client.insert(
                {"key": self._random.randrange(_KEYS)}, kind="unique", queue="one",
                unique_opts={"by_args": True, "states": 0b10111}, on_conflict="skip",
            )  # fmt: skip
            if job is not None:
                self._judge.acknowledge([job.id])
        row = conn.execute(
            "SELECT count(*) FROM awa.jobs_hot WHERE state = 'available' AND queue = 'few'"
        ).fetchone()
        if row is not None and row[0] > _FEW:
            return
        keys = ("a", "a", "a", "b", "c")
        jobs = client.insert_many(
            [
                awa.NewJob(
                    {"n": n, "sleep": 0.02},
                    kind="ok",
                    queue="few",
                    concurrency_key=self._random.choice(keys),
                )
                for n in range(20)
            ]
        )
        self._judge.acknowledge(job.id for job in jobs)

    def _answer(self, conn: psycopg.Connection[Any]) -> None:
        found = conn.execute(
            "SELECT id, callback_id::text FROM awa.jobs_hot WHERE callback_id IS NOT NULL "
            "AND state IN ('waiting_external', 'running', 'available')"
        ).fetchall()
        for job_id, callback in found:
            if self._random.random() < 0.5:
                with suppress(awa.CallbackNotFound):
                    awa.Client.on(conn).resume_external(callback, {"job": job_id})
