"""A load on a cluster: producers that note what was acknowledged, workers, and a judgement."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from fix_cluster import Cluster, Node, now_primary
from fix_wait import eventually

import awa_lib as awa

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "chaos"))

from history import keep, lines_of, problems, read  # noqa: E402 - found there

LIMIT = 6
logging.getLogger("psycopg").addHandler(logging.NullHandler())
OPEN = """
SELECT id, kind, state::text, attempt FROM awa.jobs
WHERE state NOT IN ('completed', 'failed', 'cancelled') AND kind <> 'tick'
"""


class Worker:
    """A worker process, its ledger and its log."""

    def __init__(self, folder: Path, name: str, url: str, *, command: bool, **env: str) -> None:
        self.name, self.url = name, url
        self._ledger, self.log = folder / f"{name}.ledger", folder / f"{name}.log"
        words = ["tests/ha/worker_of_cluster.py"]
        if command:
            words = ["-m", "awa_cli", "worker", "worker_of_cluster:client"]
            words += [word for queue in ("one", "narrow", name) for word in ("--queue", queue)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env=os.environ | env | {"DATABASE_URL": url, "LEDGER": str(folder), "NAME": name,
                                  "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'ha'}"},
            )  # fmt: skip
        # For the sweeper of the cluster.
        (folder / f"{name}.pid").write_text(str(self.process.pid))

    def lines(self, last: int = 0) -> list[dict[str, Any]]:
        return lines_of(self._ledger, last)

    def began_after(self, moment: float) -> float | None:
        """Return when it began its first job after a moment."""
        began = (n["t"] for n in self.lines(500_000) if n["what"] == "start" and n["t"] > moment)
        return next(began, None)

    def logged(self) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def stop(self) -> int:
        """Let it end its jobs; return its exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def end(self) -> None:
        for number in (signal.SIGCONT, signal.SIGKILL):
            self.signal(number)
        self.process.wait(20)


class Producer:
    """Inserts one job after the other through a client of its own, blocking or async."""

    def __init__(
        self, name: str, url: str, queues: list[str], *, blocking: bool, pause: float = 0.03
    ) -> None:
        self.name, self.url, self._blocking, self._pause = name, url, blocking, pause
        # The shared one, and one of each worker, which would otherwise be late to find a job.
        self._queues = ["one", *queues]
        self.acks: list[tuple[float, int]] = []
        self.errors: list[str] = []
        self.surprises: list[BaseException] = []
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            if self._blocking:
                self._insert()
            else:
                asyncio.run(self._ainsert())
        except BaseException as error:
            self.surprises.append(error)

    def _job(self) -> awa.NewJob:
        kind = random.choices(("quick", "asking", "limited"), (88, 10, 2))[0]
        if kind == "limited":
            return awa.NewJob({"sleep": random.uniform(0, 5)}, kind=kind, queue="narrow")
        args = {"sleep": random.expovariate(50)}
        return awa.NewJob(args, kind=kind, queue=random.choice(self._queues))

    def _insert(self) -> None:
        client = None
        while not self.over.wait(self._pause):
            try:
                client = client or awa.Client(self.url)
                self.acks.append((time.monotonic(), client.insert(self._job()).id))
            except awa.AwaError as error:
                self._refused(error)
        if client is not None:
            client.close()

    async def _ainsert(self) -> None:
        async with awa.AsyncClient(self.url) as client:
            while not self.over.is_set():
                await asyncio.sleep(self._pause)
                try:
                    self.acks.append((time.monotonic(), (await client.insert(self._job())).id))
                except awa.AwaError as error:
                    self._refused(error)

    def _refused(self, error: awa.AwaError) -> None:
        self.errors.append(f"{time.monotonic():.2f} {type(error).__name__}: {error}")
        if not isinstance(error, awa.Unavailable):
            self.surprises.append(error)

    def acknowledged_after(self, moment: float) -> float | None:
        return next((t for t, _ in self.acks[-2_000:] if t > moment), None)

    def stop(self) -> None:
        self.over.set()
        self._thread.join(40)


@dataclass
class Result:
    """What a fault did."""

    fault: str
    away: float
    """Seconds from the fault until a primary took changes."""
    again: dict[str, float]
    """Seconds from then until each worker began a job, and each producer had an answer."""
    lines: dict[str, int]
    """Lines that each worker logged meanwhile."""
    seconds: float = 0.0
    """Seconds from the fault until all worked."""

    @property
    def worst(self) -> float:
        return max(self.again.values())


@dataclass
class Load:
    """Workers and producers on a cluster."""

    cluster: Cluster
    folder: Path
    workers: list[Worker] = field(default_factory=list)
    producers: list[Producer] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    _answering: threading.Event = field(default_factory=threading.Event)

    def prepare(self) -> None:
        self.folder.mkdir()
        with awa.Client(self.cluster.haproxy_url) as client:
            client.migrate()
            client.set_queue_policy("narrow", max_running=LIMIT)
        with psycopg.connect(self.cluster.haproxy_url, autocommit=True) as conn:
            keep(conn)
        self._answers = threading.Thread(target=self._answer, daemon=True)
        self._answers.start()

    def work(self, name: str, url: str, *, command: bool = False, **env: str) -> Worker:
        worker = Worker(self.folder, name, url, command=command, **env)
        self.workers.append(worker)
        return worker

    def produce(self, name: str, url: str, *, blocking: bool) -> Producer:
        producer = Producer(name, url, [w.name for w in self.workers], blocking=blocking)
        self.producers.append(producer)
        return producer

    def _answer(self) -> None:
        """Answer callbacks: the part of a service elsewhere."""
        client = None
        while not self._answering.wait(0.2):
            try:
                client = client or awa.Client(self.cluster.haproxy_url)
                with psycopg.connect(self.cluster.haproxy_url, connect_timeout=2) as conn:
                    rows = conn.execute(
                        "SELECT id, callback_id::text FROM awa.jobs_hot "
                        "WHERE callback_id IS NOT NULL"
                    ).fetchall()
                for job_id, callback in rows:
                    with suppress(awa.CallbackNotFound):
                        client.resume_external(callback, {"job": job_id})
            except (awa.AwaError, psycopg.Error):
                continue
        if client is not None:
            client.close()

    # -- faults ------------------------------------------------------------------------------

    def flows(self, moment: float | None = None, timeout: float = 60) -> None:
        """Wait until every worker and producer does something after a moment."""
        moment = time.monotonic() if moment is None else moment
        late = lambda: [n for n, t in self._again(moment).items() if t is None]  # noqa: E731
        eventually(lambda: not late(), timeout)

    def _again(self, moment: float) -> dict[str, float | None]:
        return {w.name: w.began_after(moment) for w in self.workers} | {
            p.name: p.acknowledged_after(moment) for p in self.producers
        }

    def measure(
        self, fault: str, hurt: Callable[[], Any], *, other_than: Node | None, timeout: float = 90
    ) -> Result:
        """Do some harm, wait for a primary, and note who works when."""
        logged = {worker.name: len(worker.logged()) for worker in self.workers}
        began = time.monotonic()
        hurting = threading.Thread(target=hurt, daemon=True)
        hurting.start()
        if other_than is None:
            hurting.join(timeout)
        eventually(now_primary(self.cluster, other_than), timeout)
        accepts = time.monotonic()
        hurting.join(timeout)
        try:
            self.flows(accepts, timeout)
        except BaseException:
            print(self._again(accepts), self.folder)
            for worker in self.workers:
                print(worker.name, *worker.logged()[-20:], sep="\n")
            raise
        again = {n: (t or 0.0) - accepts for n, t in self._again(accepts).items()}
        result = Result(
            fault, accepts - began, again,
            {w.name: len(w.logged()) - logged[w.name] for w in self.workers},
            max(again.values()) + accepts - began,
        )  # fmt: skip
        self.results.append(result)
        return result

    # -- judging -----------------------------------------------------------------------------

    def drain(self, timeout: float = 60) -> list[str]:
        """Stop the producers and wait until every job has ended; return what was wrong."""
        wrong = []
        for producer in self.producers:
            producer.stop()
            wrong += [f"{producer.name} got {error!r}" for error in producer.surprises]

        def left() -> list[Any]:
            with psycopg.connect(self.cluster.haproxy_url, connect_timeout=5) as conn:
                return conn.execute(OPEN).fetchall()

        try:
            eventually(lambda: not left(), timeout)
        except BaseException:
            wrong.append(f"not ended: {left()[:5]}")
        return wrong

    def judge(self) -> list[str]:
        """Return what was wrong of the whole run."""
        wrong = self.drain()
        for worker in self.workers:
            status = worker.stop()
            if status:
                wrong.append(f"{worker.name} ended with {status}")
            lines = worker.logged()
            wrong += [
                f"{worker.name} logged:\n" + "\n".join(lines[max(n - 1, 0) : n + 40])
                for n, line in enumerate(lines)
                if "Traceback" in line
            ]
        ledger = [line for worker in self.workers for line in worker.lines()]
        ledger += [
            {"what": "inserted", "id": job_id}
            for producer in self.producers
            for _, job_id in producer.acks
        ]
        with psycopg.connect(self.cluster.haproxy_url) as conn:
            history = read(conn, ledger, limits={"narrow": LIMIT}, cleans=False)
            wrong += missed(conn)
        return wrong + problems(history)

    def close(self) -> None:
        self._answering.set()
        for producer in self.producers:
            producer.over.set()
        for worker in self.workers:
            worker.end()
        for producer in self.producers:
            producer.stop()
        self._answers.join(30)


MISSED = """
WITH f AS (
    SELECT fire::timestamptz AS at FROM (
        SELECT split_part(fire, ' ', 2) AS fire FROM public.history WHERE fire LIKE 'every %'
    ) f
)
SELECT m.at::text FROM generate_series(
    (SELECT min(at) FROM f), (SELECT max(at) FROM f), interval '1 second'
) AS m(at) WHERE NOT EXISTS (SELECT FROM f WHERE f.at = m.at) ORDER BY 1
"""


def missed(conn: psycopg.Connection[Any]) -> list[str]:
    """Return the moments for which the schedule that catches up did not fire."""
    return [f"no fire for {at}" for (at,) in conn.execute(MISSED)]


@contextmanager
def load(cluster: Cluster) -> Iterator[Load]:
    """Prepare the database of a cluster for a load; everything that is added ends."""
    running = Load(cluster, cluster.place / "load")
    running.prepare()
    try:
        yield running
    finally:
        running.close()
