"""The steps of the demo: enqueue, watch, kill a worker, wait for the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

from awa_cli.demo import jobs, tables
from awa_cli.worker.supervised import start_child
from awa_lib.client.clients import Client
from awa_lib.errors import AwaError
from awa_lib.states import ENDED, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_cli.demo.tables import Found

__all__ = ["Demo", "Moment"]

_WORKERS: Final = 2
_CHUNK: Final = 500
_LARGE_BYTES: Final = 100_000
_TICK_SECONDS: Final = 0.1
_KILL_AT_PERCENT: Final = 45
_ANNOUNCE_AFTER_SECONDS: Final = 3.0
_MAX_SECONDS: Final = 300.0
_URGENT: Final = frozenset({"Python", "C", "SQL"})


@dataclass(slots=True)
class Moment:
    """The data of the screen at one moment."""

    elapsed: float = 0.0
    jobs: int = 0
    states: dict[str, int] = field(default_factory=dict)
    rate: float = 0.0
    survey_percent: int = 0
    survey_message: str = ""
    events: list[tuple[float, str]] = field(default_factory=list)

    @property
    def ended(self) -> int:
        """Return how many jobs have ended."""
        return sum(count for state, count in self.states.items() if state in ENDED)


class _Workers:
    """The worker processes; they end when this process ends for any reason."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pipe = os.pipe()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start a worker."""
        child = start_child(
            [sys.executable, "-m", "awa_cli.demo.worker"],
            self._pipe[0],
            env={"DATABASE_URL": self._url},
            errors=self._errors,
        )
        self._running[child.pid] = child

    def kill(self, pid: int) -> bool:
        """Kill a worker with SIGKILL; return False if the process is not a worker of this demo."""
        child = self._running.pop(pid, None)
        if child is None:
            return False
        child.kill()
        child.wait()
        return True

    def check(self) -> None:
        """Raise AwaError if a worker has ended."""
        for pid, child in self._running.items():
            if child.poll() is not None:
                self._errors.seek(0)
                lines = self._errors.read().decode(errors="replace").strip().splitlines()
                raise AwaError(
                    f"worker {pid} ended with status {child.returncode}",
                    why=lines[-1] if lines else "it printed no message",
                    hint="run awa demo again; if it fails again, check the server: awa dev status",
                )

    def stop(self) -> None:
        """Stop the workers; kill those that do not end."""
        for child in self._running.values():
            child.terminate()
        for child in self._running.values():
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._errors.close()
        for end in self._pipe:
            os.close(end)


class Demo:
    """A run of the demo.  Use as a context manager: leaving it stops the workers."""

    def __init__(self, url: str, root: str, show: Callable[[Moment], None]) -> None:
        self.run_id = str(uuid.uuid4())
        self.after = 0
        self._root = root
        self._show = show
        self._client = Client(url, max_connections=2)
        self._workers = _Workers(url)
        self._folder = tempfile.TemporaryDirectory(prefix="awa-demo-")
        self._locked = Path(self._folder.name) / "locked.txt"
        self._began = time.monotonic()
        self._moment = Moment()
        self._ids: dict[str, int] = {}
        self._killed_at: float | None = None

    def __enter__(self) -> Self:
        """Migrate, cancel jobs of an earlier run, and start the workers."""
        self._client.migrate()
        for queue in jobs.QUEUES:
            self._client.cancel_waiting(queue)
        self.after = self._client._run(tables.prepare())  # noqa: SLF001 - ops of the demo
        for _ in range(_WORKERS):
            self._workers.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the workers; jobs that did not run stay in the queue."""
        try:
            self._workers.stop()
        finally:
            self._client.close()
            self._folder.cleanup()

    def work(self) -> Found:
        """Enqueue all jobs, wait until they have ended, and return the results."""
        paths = jobs.walk(self._root)
        self._moment.jobs = len(paths) + 3
        self._add_event(f"enqueueing {len(paths):,} files in transactions of {_CHUNK}")
        self._enqueue_single()
        for start in range(0, len(paths), _CHUNK):
            self._enqueue_files(start, paths[start : start + _CHUNK])
            self._read()
        self._add_event("all jobs are enqueued")
        while self._moment.ended < self._moment.jobs:
            if time.monotonic() - self._began > _MAX_SECONDS:
                raise AwaError(
                    f"the demo did not end within {_MAX_SECONDS:.0f} s",
                    why=f"{self._moment.jobs - self._moment.ended} jobs have not ended",
                    hint="use a smaller folder: awa demo PATH",
                )
            self._workers.check()
            self._read()
            time.sleep(_TICK_SECONDS)
        return self._client._run(  # noqa: SLF001 - see __enter__
            tables.found(self.run_id, self.after, jobs.QUEUES)
        )

    @property
    def elapsed(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._began

    def _enqueue_single(self) -> None:
        insert = self._client.insert
        survey = insert(jobs.SurveyTree(self.run_id, self._root), queue=jobs.LARGE, priority=1)
        locked = jobs.ReadLocked(self.run_id, str(self._locked))
        self._ids = {
            "survey": survey.id,
            "locked": insert(locked, queue=jobs.LARGE, max_attempts=5).id,
        }
        due = datetime.now(UTC) + timedelta(seconds=_ANNOUNCE_AFTER_SECONDS)
        insert(jobs.Announce(self.run_id, due), queue=jobs.FILES, priority=1, run_at=due)

    def _enqueue_files(self, start: int, paths: Sequence[str]) -> None:
        """Insert the rows of the application and their jobs in one transaction."""
        stored = [tables.store_path(path) for path in paths]
        groups: dict[tuple[str, int], list[jobs.MeasureFile]] = defaultdict(list)
        for offset, path in enumerate(paths):
            job = jobs.MeasureFile(self.run_id, start + offset, stored[offset])
            groups[_place(path)].append(job)
        with self._client.transaction() as tx:
            tx._run(tables.add_files(self.run_id, start, stored))  # noqa: SLF001 - see __enter__
            for (queue, priority), found in groups.items():
                tx.insert_many(found, queue=queue, priority=priority, max_attempts=2)

    def _read(self) -> None:
        moment, run = self._moment, self._client._run  # noqa: SLF001 - see __enter__
        before, then = moment.ended, moment.elapsed
        moment.states = run(tables.states(self.after, jobs.QUEUES))
        moment.elapsed = self.elapsed
        seconds = max(moment.elapsed - then, 1e-3)
        # A moving average over about a second.
        share = min(1.0, seconds)
        moment.rate += share * ((moment.ended - before) / seconds - moment.rate)
        self._read_survey()
        self._read_locked()
        self._show(moment)

    def _read_survey(self) -> None:
        if self._ids.get("survey") is None:
            return
        job = self._client.get_job(self._ids["survey"])
        if job.state == JobState.Completed:
            self._moment.survey_percent, self._moment.survey_message = 100, "done"
            self._ids.pop("survey")
            self._add_event("the checkpointed job is done")
            return
        progress = job.progress or {}
        self._moment.survey_percent = progress.get("percent", 0)
        self._moment.survey_message = progress.get("message", "")
        pid = progress.get("metadata", {}).get("pid")
        running = job.state == JobState.Running
        if self._killed_at is None:
            ripe = running and self._moment.survey_percent >= _KILL_AT_PERCENT
            if ripe and pid and self._workers.kill(pid):
                self._killed_at = self.elapsed
                self._add_event(
                    f"kill -9 of worker {pid}, at {self._moment.survey_percent}% of its job"
                )
                self._workers.start()
        elif running and job.errors and not self._ids.get("resumed"):
            self._ids["resumed"] = 1
            gap = self.elapsed - self._killed_at
            self._add_event(
                f"another worker continues at {self._moment.survey_percent}%, {gap:.1f} s later"
            )

    def _read_locked(self) -> None:
        if self._ids.get("locked") is None or self._locked.exists():
            return
        if self._client.get_job(self._ids["locked"]).errors:
            self._locked.write_text("now it can be read\n", encoding="utf-8")
            self._add_event(
                "a job could not read its file; the file is there now, and the job is retried"
            )

    def _add_event(self, text: str) -> None:
        self._moment.events.append((self.elapsed, text))
        self._moment.elapsed = self.elapsed
        self._show(self._moment)


def _place(path: str) -> tuple[str, int]:
    """Return the queue and the priority of a file."""
    size = 0
    with suppress(OSError):
        size = Path(path).stat().st_size
    if size > _LARGE_BYTES:
        return jobs.LARGE, 3
    return jobs.FILES, 2 if jobs.language_of(path) in _URGENT else 3
