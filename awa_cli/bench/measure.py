"""The steps of a measurement: enqueue, drain, measure the pickup, clean up."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, TYPE_CHECKING, Any, Final, Self

from awa_cli.bench.report import BenchReport, Latency, Machine, Rate
from awa_cli.database.session import Session
from awa_cli.terminal.output import say
from awa_cli.views.words import counted
from awa_cli.worker.supervised import start_child
from awa_lib.errors import AwaError
from awa_lib.ops.bench import delete_bench_jobs, forget_bench
from awa_lib.ops.inserts import insert, insert_many_copy
from awa_lib.reads.bench import newest_id, server_settings, unfinished
from awa_lib.reads.health import ping

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from awa_cli.bench.report import Plan

__all__ = ["Bench", "machine"]

_BATCH: Final = 1_000
# One in ten jobs is enqueued in a transaction of its own.
_SINGLE_SHARE: Final = 10
_PACE_SECONDS: Final = 0.02
_TICK_SECONDS: Final = 0.02
_ROUND_TRIPS: Final = 50
# Time after which workers without jobs are idle and listening.
_SETTLE_SECONDS: Final = 1.0


class Bench:
    """A run on a queue of its own.  Use as a context manager: leaving it deletes the jobs."""

    def __init__(
        self, plan: Plan, url: str, connect: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self.plan = plan
        self.queue = f"awa_bench_{secrets.token_hex(6)}"
        self._connect = connect
        self._fleet = _Fleet(url, self.queue, plan.concurrency)
        self._after: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, first: BaseException | None, __: object) -> None:
        """Stop the workers and delete the jobs; Ctrl-C is ignored meanwhile."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._fleet.stop()
            if self._after is None:
                return
            # The connection of run() may be in the middle of a statement.
            with self._connect() as conn:
                db = Session(conn)
                while db.run(delete_bench_jobs(self.queue, after=self._after)):
                    pass
                db.run(forget_bench(self.queue))
        except AwaError as error:
            if isinstance(first, AwaError):
                return  # probably the cause of this error
            raise AwaError(
                f"the jobs of queue {self.queue} could not be deleted",
                why=str(error),
                hint=f"when the database is reachable: awa queue purge {self.queue} --yes",
            ) from error
        finally:
            signal.signal(signal.SIGINT, before)

    def run(self) -> BenchReport:
        """Run all measurements."""
        with self._connect() as conn:
            db = Session(conn)
            server = db.run(server_settings())
            self._after = db.run(newest_id())
            trips = _round_trips(db)
            say("enqueueing, a commit for each job")
            single = self._single(db)
            say(f"enqueueing {counted(self.plan.jobs)}, a commit for each thousand")
            bulk = self._bulk(db)
            waiting = single.jobs + bulk.jobs
            say(f"draining {counted(waiting)}")
            drain = self._drain(db, waiting)
            say(f"measuring the pickup of jobs for {self.plan.duration_seconds:g} s")
            pickup = self._pickup(db)
        return BenchReport(
            plan=self.plan,
            machine=machine(),
            server=server,
            round_trip=_latency(trips),
            enqueue_single=single,
            enqueue_bulk=bulk,
            drain=drain,
            pickup=pickup,
        )

    def _single(self, db: Session) -> Rate:
        """Insert a tenth of the jobs, or as many as the duration allows."""
        began = time.perf_counter()
        wanted, done = max(1, self.plan.jobs // _SINGLE_SHARE), 0
        while done < wanted and time.perf_counter() - began < self.plan.duration_seconds:
            db.run(insert({"n": done}, kind=self.queue, queue=self.queue))
            done += 1
        return _rate(done, time.perf_counter() - began)

    def _bulk(self, db: Session) -> Rate:
        began = time.perf_counter()
        for start in range(0, self.plan.jobs, _BATCH):
            batch = [{"n": n} for n in range(start, min(start + _BATCH, self.plan.jobs))]
            db.run(insert_many_copy(batch, kind=self.queue, queue=self.queue))
        return _rate(self.plan.jobs, time.perf_counter() - began)

    def _drain(self, db: Session, jobs: int) -> Rate:
        began = self._fleet.start(self.plan.processes)
        self._until_done(db)
        return _rate(jobs, time.time() - began)

    def _pickup(self, db: Session) -> Latency:
        """Enqueue at a steady rate while the workers are idle."""
        time.sleep(_SETTLE_SECONDS)
        due = time.time()
        for _ in range(max(1, round(self.plan.duration_seconds / _PACE_SECONDS))):
            due += _PACE_SECONDS
            time.sleep(max(0.0, due - time.time()))
            db.run(insert({"at": time.time()}, kind=self.queue, queue=self.queue))
        self._until_done(db)
        return _latency(self._fleet.stop())

    def _until_done(self, db: Session) -> None:
        while db.run(unfinished(self.queue)):
            self._fleet.check()
            time.sleep(_TICK_SECONDS)


class _Fleet:
    """The worker processes; they end when this process ends for any reason."""

    def __init__(self, url: str, queue: str, concurrency: int) -> None:
        self._argv = [sys.executable, "-m", "awa_cli.bench.worker", queue, str(concurrency)]
        self._url = url
        self._pipe = os.pipe()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, count: int) -> float:
        """Start workers; return the wall-clock time at which the first was ready."""
        for _ in range(count):
            child = start_child(
                self._argv,
                self._pipe[0],
                env={"DATABASE_URL": self._url},
                output=subprocess.PIPE,
                errors=self._errors,
            )
            self._running.append(child)
        return min(float(self._read_line(child)["ready"]) for child in self._running)

    def _read_line(self, child: subprocess.Popen[bytes]) -> dict[str, Any]:
        assert child.stdout is not None
        if line := child.stdout.readline():
            return dict(json.loads(line))
        child.wait()
        self.check()
        raise AwaError("a worker printed nothing")

    def check(self) -> None:
        """Raise AwaError if a worker has ended."""
        for child in self._running:
            if child.poll() is not None:
                self._errors.seek(0)
                lines = self._errors.read().decode(errors="replace").strip().splitlines()
                raise AwaError(
                    f"a worker ended with status {child.returncode}",
                    why=lines[-1] if lines else "it printed no message",
                )

    def stop(self) -> list[float]:
        """Stop the workers, kill those that do not end, and return their latencies in seconds."""
        for child in self._running:
            child.terminate()
        found: list[float] = []
        for child in self._running:
            try:
                out, _ = child.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                child.kill()
                out, _ = child.communicate()
            if line := out.strip():
                found += json.loads(line.splitlines()[-1]).get("latencies", [])
        if not self._errors.closed:
            self._errors.close()
            for end in self._pipe:
                os.close(end)
        self._running = []
        return found


def _round_trips(db: Session) -> list[float]:
    found = []
    for _ in range(_ROUND_TRIPS):
        began = time.perf_counter()
        db.run(ping())
        found.append(time.perf_counter() - began)
    return found


def _rate(jobs: int, seconds: float) -> Rate:
    return Rate(jobs, round(seconds, 3), round(jobs / seconds, 1))


def _latency(seconds: list[float]) -> Latency:
    found = sorted(seconds)

    def share(percent: int) -> float:
        return round(1000 * found[min(len(found) - 1, len(found) * percent // 100)], 3)

    return Latency(len(found), share(50), share(95), share(99), round(1000 * found[-1], 3))


def machine() -> Machine:
    """Describe the machine this process runs on."""
    import platform
    from importlib.util import find_spec

    import psycopg

    from awa_cli.version import version

    return Machine(
        cpus=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        awa=version(),
        psycopg=psycopg.__version__,
        uvloop=find_spec("uvloop") is not None,
    )
