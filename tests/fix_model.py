"""A reference model of the database: what its rows must be, in plain Python.

The model knows what is committed, and what each open transaction has changed.  A transition of
the model is made in a ``Change``; it raises ``Wait`` or ``Taken`` where the real operation must fail
because of a lock or a unique key, and then changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg

STATES = (
    "scheduled",
    "available",
    "running",
    "completed",
    "retryable",
    "failed",
    "cancelled",
    "waiting_external",
)
ENDED = ("completed", "failed", "cancelled")
COLD = ("scheduled", "retryable")
JOURNAL = ("_awa_callbacks", "_awa_callback_result", "_awa_reenter")
KEY_OF_LIMIT = "_awa_concurrency_key"
TIMES = (
    "run_at",
    "heartbeat_at",
    "deadline_at",
    "attempted_at",
    "finalized_at",
    "created_at",
    "callback_timeout_at",
)
HOUR = 3600.0

Key = tuple[str, Any]
"""What a row is kept under: ("job", id), ("claim", unique key), ("paused", queue) …"""


class Wait(Exception):
    """Another transaction holds a lock that the operation needs."""


class Taken(Exception):
    """Another job holds the unique key."""


class Refused(Exception):
    """The state of the job does not allow the change."""


class Missing(Exception):
    """There is no such job, callback or dead letter."""


@dataclass(frozen=True)
class Near:
    """A time some seconds from now, between these bounds; the database says which."""

    least: float = 0.0
    most: float = 0.0


@dataclass(frozen=True)
class About:
    """A text of which only parts are known."""

    parts: tuple[str, ...]


Moment = datetime | Near | None
NOW = Near()


@dataclass(frozen=True)
class Job:
    """A row of a job, in whichever table."""

    id: int
    kind: str
    queue: str
    args: dict[str, Any]
    state: str
    priority: int
    max_attempts: int
    run_at: Moment
    attempt: int = 0
    lease: int = 0
    created_at: Moment = NOW
    heartbeat_at: Moment = None
    deadline_at: Moment = None
    attempted_at: Moment = None
    finalized_at: Moment = None
    errors: tuple[dict[str, Any], ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    unique: Any = None
    """What the unique key is made of."""
    mask: int = 0
    """Bit i: the key is held in state i."""
    callback_id: str | None = None
    callback_timeout_at: Moment = None
    progress: Any = None
    reason: str | About | None = None
    """Why it is a dead letter."""

    @property
    def table(self) -> str:
        """Return the only table that may hold the row."""
        if self.reason is not None:
            return "dead"
        return "cold" if self.state in COLD else "hot"

    @property
    def holds(self) -> Any:
        """Return the unique key that it holds, or None."""
        held = self.unique is not None and self.reason is None
        return self.unique if held and self.mask >> STATES.index(self.state) & 1 else None

    @property
    def limit_key(self) -> str | None:
        return self.metadata.get(KEY_OF_LIMIT)

    def without(self, *names: str) -> dict[str, Any]:
        """Return the metadata without these keys."""
        return {key: value for key, value in self.metadata.items() if key not in names}

    def fail(self, error: str | About | None, **more: Any) -> tuple[dict[str, Any], ...]:
        """Return the errors with one more."""
        if error is None:
            return self.errors
        return (*self.errors, {"error": error, "attempt": self.attempt, **more})


@dataclass(frozen=True)
class Bulk:
    """A row of a bulk operation."""

    id: str
    operation: str
    filter: dict[str, Any]
    spec: dict[str, Any]
    last_id: int
    total_matched: int
    state: str = "pending"
    cursor: int = 0
    deferred: tuple[int, ...] = ()
    processed: int = 0
    skipped: int = 0
    errored: int = 0
    failures: int = 0


NO_CALLBACK: dict[str, Any] = {"callback_id": None, "callback_timeout_at": None}
NO_LEASE: dict[str, Any] = {"heartbeat_at": None, "deadline_at": None}


class Session:
    """A connection, and what its open transaction has changed."""

    def __init__(self, name: str, conn: psycopg.Connection[Any]) -> None:
        self.name = name
        self.conn = conn
        self.pending: dict[Key, Any] | None = None
        self.began: datetime | None = None
        self.held: frozenset[int] = frozenset()
        """The rows of jobs that it has locked."""

    def __repr__(self) -> str:
        return self.name


class Model:
    """Everything that is committed, and the sessions with what they have not committed."""

    def __init__(self, sessions: list[Session]) -> None:
        self.committed: dict[Key, Any] = {}
        self.sessions = sessions

    def others(self, session: Session) -> Iterator[Session]:
        return (one for one in self.sessions if one is not session and one.pending is not None)

    def view(self, session: Session | None = None) -> dict[Key, Any]:
        """Return what a session sees; None sees what is committed."""
        pending = (session.pending if session else None) or {}
        seen = {**self.committed, **pending}
        return {key: value for key, value in seen.items() if value is not None}

    def begin(self, session: Session, began: datetime) -> None:
        session.pending, session.began = {}, began

    def end(self, session: Session, *, commit: bool) -> None:
        if commit:
            self.committed.update(session.pending or {})
        session.pending, session.began, session.held = None, None, frozenset()

    def adopt(self, session: Session | None, key: Key, value: Any) -> None:
        """Keep a row with the exact values that the database has chosen."""
        pending = session.pending if session else None
        (pending if pending and key in pending else self.committed)[key] = value

    def pass_time(self, seconds: float) -> None:
        """Let every time of every job be earlier."""
        way = timedelta(seconds=seconds)
        for key, job in self.committed.items():
            if key[0] == "job" and job is not None:
                times = {name: getattr(job, name) for name in TIMES}
                self.committed[key] = replace(
                    job, **{name: at - way for name, at in times.items() if at is not None}
                )


class Change:
    """A change that a session makes: all of it, or nothing."""

    def __init__(self, model: Model, session: Session, now: datetime) -> None:
        self.model = model
        self.session = session
        # Times differ by hours: a moment more makes up for the time that reading a clock takes.
        self.now = session.began or now + timedelta(seconds=5)
        """What now() is in the transaction."""
        self.pending: dict[Key, Any] = {}
        self._base = model.view(session)
        others = list(model.others(session))
        self._locked = frozenset(job_id for one in others for job_id in one.held)
        self._open = frozenset(key for one in others for key in one.pending or {})

    def apply(self) -> None:
        """Make the change."""
        session = self.session
        (self.model.committed if session.pending is None else session.pending).update(self.pending)

    def get(self, key: Key) -> Any:
        return self.pending[key] if key in self.pending else self._base.get(key)

    def all(self, what: str) -> dict[Any, Any]:
        """Return the rows of a kind, by what they are kept under."""
        rows = {**self._base, **self.pending}
        return {key[1]: row for key, row in sorted(rows.items(), key=str) if key[0] == what and row}

    def jobs(self) -> list[Job]:
        """Return the jobs that are seen, dead letters left out, by id."""
        rows = {**self._base, **self.pending}
        seen = [row for key, row in rows.items() if key[0] == "job" and row is not None]
        return sorted((job for job in seen if job.reason is None), key=lambda job: job.id)

    def job(self, job_id: int) -> Job | None:
        """Return a job that is seen and is no dead letter."""
        job = self.get(("job", job_id))
        return job if job is not None and job.reason is None else None

    def owned(self, job_id: int, lease: int) -> Job | None:
        """Return a job that runs under this lease."""
        job = self.job(job_id)
        return job if job and (job.state, job.lease) == ("running", lease) else None

    def free(self, job: Job) -> bool:
        """Return whether no other transaction has locked the row."""
        return job.id not in self._locked

    def is_open(self, key: Key) -> bool:
        """Return whether another transaction has changed a row that is not a job."""
        return key in self._open

    def moment(self, moment: Moment) -> datetime:
        """Return a time, with what is near as if it were exact."""
        assert moment is not None
        near = isinstance(moment, Near)
        return self.now + timedelta(seconds=moment.least) if near else moment

    def due(self, moment: Moment) -> bool:
        assert isinstance(moment, datetime)
        return moment <= self.now

    def set(self, key: Key, value: Any) -> None:
        if self.is_open(key):
            raise Wait(key)
        self.pending[key] = value

    def put(self, *jobs: Job, first: str = "rows") -> None:
        """Write rows in their order; or free all keys first, or take all keys first.

        In which order a statement does it is the choice of the planner.
        """
        before = {job.id: self.get(("job", job.id)) for job in jobs}
        if any(not self.free(job) for job in jobs):
            raise Wait(jobs)
        steps = [(self._release, job) for job in jobs] + [(self._take, job) for job in jobs]
        if first == "rows":
            steps = [(step, job) for job in jobs for step in (self._release, self._take)]
        elif first == "takes":
            steps.reverse()
        for step, job in steps:
            step(before[job.id], job)
        for job in jobs:
            self.pending["job", job.id] = job

    def delete(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if not self.free(job):
                raise Wait(job)
            self._release(job, None)
            self.pending["job", job.id] = None

    def _stays(self, old: Job | None, new: Job | None) -> bool:
        return bool(old and new and old.holds == new.holds and old.table == new.table)

    def _release(self, old: Job | None, new: Job | None) -> None:
        if old is not None and old.holds is not None and not self._stays(old, new):
            kept = new is not None and new.holds == old.holds
            self.pending["claim", old.holds] = old.id if kept else None

    def _take(self, old: Job | None, new: Job) -> None:
        if new.holds is None or self._stays(old, new):
            return
        key = ("claim", new.holds)
        if self.is_open(key):
            raise Wait(key)
        if self.get(key) not in (None, new.id):
            raise Taken(self.get(key))
        self.pending[key] = new.id
