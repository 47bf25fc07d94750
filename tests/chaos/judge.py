"""Judge a run while it goes on: what has ended is compared, then forgotten, in the database too.

The log of the rows is read in windows.  A window holds what was committed between two snapshots,
the later of which is some seconds old: claims are committed without waiting for the disk, and one
that a crash of the server undid must not be judged.  A job is judged when its last change is an
end.  Its row, its log and its lines are then deleted, so memory and disk do not grow.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

import psycopg
from history import (
    ENDED,
    JUDGE,
    LOG,
    Entry,
    History,
    Row,
    Together,
    lines_within_limits,
    problems_of_jobs,
)

# How long a job that was judged is remembered.
_REMEMBERED_SECONDS = 60.0
# How long after a process was hurt a rescue may be because of it.
_FEARED_SECONDS = 180.0
# For how many windows a line waits for the log of its job: a claim that a crash undid has none.
_KEPT_WINDOWS = 20

_WINDOW = (
    LOG.replace("SELECT", "SELECT seq,", 1)
    + "WHERE pg_visible_in_snapshot(xid, %s::text::pg_snapshot) "
    "AND NOT pg_visible_in_snapshot(xid, %s::text::pg_snapshot) ORDER BY seq"
)
_ROWS = """
SELECT id, 'jobs_hot', kind, state::text, attempt, max_attempts, run_lease, to_jsonb(errors),
       CASE WHEN kind = 'flaky' AND (args ->> 'n')::int > 0 THEN (args ->> 'fails')::int END,
       (args ->> 'parent')::bigint
FROM awa.jobs_hot WHERE id = ANY(%s) AND state IN ('completed', 'failed', 'cancelled')
"""
_DELETE = """
DELETE FROM awa.jobs_hot WHERE id = ANY(%s) AND state IN ('completed', 'failed', 'cancelled')
"""


@dataclass(slots=True)
class Case:
    """A job that goes on."""

    log: list[tuple[int, Entry]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    window: int = 0
    """The window that it was first seen in."""


class Ended(NamedTuple):
    """A row of a job that has ended."""

    id: int
    place: str
    kind: str
    state: str
    attempt: int
    max_attempts: int
    lease: int
    errors: list[dict[str, Any]] | None
    fails: int | None
    """How often a flaky job fails before it completes."""
    parent: int | None
    """The job that this one follows."""


class Judge:
    """Judges all jobs of a database, window by window."""

    def __init__(
        self,
        url: str,
        lines: Callable[[], Iterable[dict[str, Any]]],
        *,
        limits: dict[str, int],
        key_limits: dict[str, int],
    ) -> None:
        self._url = url
        self._lines = lines
        self._limits = limits
        self._conn: psycopg.Connection[Any] | None = None
        self._snapshots: list[str] = []
        self._known = "1:1:"
        self._known_deleted = self._known
        self._cases: dict[int, Case] = {}
        self._recent: dict[int, tuple[float, int]] = {}
        self._to_delete: list[int] = []
        self._windows = 0
        self._owed: Counter[int] = Counter()
        self._in_limits: list[tuple[float, float, str]] = []
        self.together = Together(limits, key_limits)
        self.acknowledged: set[int] = set()
        self.asked: dict[int, set[str]] = {}
        """What operators asked for, by job."""
        self.hurt: set[str] = set()
        """Processes that were killed, stopped or cut off: what they ran may be rescued."""
        self.hurt_at: list[float] = []
        """When that happened, in seconds since 1970."""
        self.living: set[str] = set()
        """Processes that run."""
        self.died: dict[str, float] = {}
        """When processes were killed, in seconds since 1970."""
        self.led: set[str] = set()
        """Those of them that led the fleet: another one must first take over."""
        self.states: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        """Lines by what they say."""
        self.rescued_after: list[tuple[float, bool]] = []
        """Seconds from the death of a process to the rescue of a job it ran; whether it led."""
        self.problems: list[str] = []

    @property
    def judged(self) -> int:
        return self.states.total()

    @property
    def open(self) -> int:
        """Return how many jobs are known and have not been judged."""
        # In one step: the judge has a thread of its own.
        return sum(bool(case.log) for case in list(self._cases.values()))

    def acknowledge(self, job_ids: Iterable[int]) -> None:
        """Note jobs whose insertion was answered."""
        for job_id in job_ids:
            self.acknowledged.add(job_id)
            if job_id in self._recent:  # an answer that came late
                self.acknowledged.discard(job_id)

    def window(self) -> None:
        """Judge what has ended.  Raises psycopg.Error; the next call then does the same again."""
        try:
            self._window(self._connection())
        except psycopg.Error:
            # A server that crashed gives numbers of transactions again that it had not kept.
            self._snapshots = []
            if self._conn is not None:
                self._conn.close()
            self._conn = None
            raise

    def _connection(self) -> psycopg.Connection[Any]:
        if self._conn is None:
            self._conn = psycopg.connect(
                self._url, autocommit=True, connect_timeout=2, application_name=JUDGE,
                options="-c statement_timeout=20000 -c lock_timeout=1000",
            )  # fmt: skip
        return self._conn

    def _window(self, conn: psycopg.Connection[Any]) -> None:
        row = conn.execute("SELECT pg_current_snapshot()::text").fetchone()
        assert row is not None
        self._snapshots.append(row[0])
        if len(self._snapshots) > 1:
            until = self._snapshots.pop(0)
            self._windows += 1
            rows = conn.execute(_WINDOW, [until, self._known]).fetchall()
            self._known = until
            self._take([(seq, Entry(*entry)) for seq, *entry in rows])
        self._take_lines()
        self._judge(conn)
        if self._to_delete:
            conn.execute(_DELETE, [self._to_delete])
            self._to_delete = []
        if self._known_deleted != self._known:
            conn.execute(
                "DELETE FROM public.history WHERE pg_visible_in_snapshot(xid, %s::text::pg_snapshot)",
                [self._known],
            )
            self._known_deleted = self._known

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()

    def _take(self, log: list[tuple[int, Entry]]) -> None:
        self.problems += self.together.take(entry for _, entry in log)
        for seq, entry in log:
            if entry.id in self._recent:
                self.problems.append(f"changed after it had ended: {entry}")
                continue
            case = self._cases.get(entry.id)
            if case is None:
                case = self._cases[entry.id] = Case(window=self._windows)
            case.log.append((seq, entry))

    def _take_lines(self) -> None:
        for line in self._lines():
            self.seen[line["what"]] += 1
            job_id = line["id"]
            if (judged := self._recent.get(job_id)) is not None:
                # The end of a handler that had lost its job comes late, and says nothing.
                if line["what"] == "start" and line["lease"] == judged[1]:
                    self.problems.append(f"started again after it had ended: {line}")
                continue
            case = self._cases.get(job_id)
            if case is None:
                case = self._cases[job_id] = Case(window=self._windows)
            case.lines.append(line)
        now = time.monotonic()
        for job_id in [
            job_id
            for job_id, case in self._cases.items()
            if not case.log and self._windows - case.window > _KEPT_WINDOWS
        ]:
            del self._cases[job_id]
        for job_id, (at, _) in list(self._recent.items()):
            if now - at < _REMEMBERED_SECONDS:
                break
            del self._recent[job_id]

    def _judge(self, conn: psycopg.Connection[Any]) -> None:
        over = [
            job_id
            for job_id, case in self._cases.items()
            if case.log and max(case.log)[1].new in ENDED
        ]
        self._drop_deleted()
        if not over:
            return
        rows = [Ended(*row) for row in conn.execute(_ROWS, [over]).fetchall()]
        # A row that has changed since is judged when its log says so.
        rows = [
            row
            for row in rows
            if (last := max(self._cases[row.id].log)[1]).new == row.state
            and last.lease == row.lease
        ]
        self._judge_rows(rows)
        now = time.monotonic()
        judged = {row.id for row in rows}
        for row in rows:
            self._recent[row.id] = (now, row.lease)
            del self._cases[row.id]
            self.asked.pop(row.id, None)
            self.states[row.state] += 1
        self.acknowledged -= judged
        self.together.forget_keys_of(judged)
        self._to_delete += judged

    def _drop_deleted(self) -> None:
        """Forget jobs that somebody else deleted, who must not."""
        for job_id, case in list(self._cases.items()):
            if case.log and len(case.log) > 1:
                last = max(case.log)[1]
                if last.new is None and self._windows - case.window > _KEPT_WINDOWS:
                    self.problems.append(f"deleted: {last}")
                    del self._cases[job_id]

    def _judge_rows(self, rows: list[Ended]) -> None:
        # Nine of ten: the long way takes 80 us.
        rows = [row for row in rows if not _is_plain(row, self._cases[row.id])]
        log: list[Entry] = []
        ledger: list[dict[str, Any]] = []
        for row in rows:
            case = self._cases[row.id]
            log += [entry for _, entry in sorted(case.log)]
            ledger += case.lines
            ledger += [
                {"what": "asked", "id": row.id, "for": what} for what in self.asked.get(row.id, ())
            ]
        history = History(
            log, [Row(r.id, r.place, r.state, r.lease) for r in rows], ledger, cleans=False
        )
        self.problems += problems_of_jobs(history)
        for row in rows:
            case = self._cases[row.id]
            self.problems += self._outcome(row, case)
            self._follow(row)
            self._measure(case)
        self._limit_handlers(rows)

    def _outcome(self, row: Ended, case: Case) -> list[str]:
        """Each job ended as its kind says, after as many attempts as it needs."""
        if row.errors is None and row.attempt == 1 and row.kind in PLAIN:
            return [] if row.state == "completed" or self.asked.get(row.id) else [_said(row)]
        errors = row.errors or []
        crashes = [error for error in errors if "crash" in error]
        rescued = [datetime.fromisoformat(error["at"]).timestamp() for error in crashes]
        if any(start < at for start in self._safe(case) for at in rescued):
            return [f"rescued though its worker lived: {_said(row)}"]
        if any(
            not any(-10 < at - hurt < _FEARED_SECONDS for hurt in self.hurt_at) for at in rescued
        ):
            return [f"rescued though no worker had died: {_said(row)}"]
        if row.state == "failed" and crashes and len(crashes) >= min(row.max_attempts, 5):
            return []
        asked = self.asked.get(row.id, ())
        if "cancel" in asked and row.state == "cancelled":
            return []
        state, attempts = outcome(row)
        if state is None:
            return []
        if row.state != state:
            return [f"should be {state}: {_said(row)}"]
        if "retry" in asked:
            return []
        spent = row.attempt if row.state == "failed" else row.attempt - 1
        if spent != len(errors) - len(crashes) or row.attempt != attempts:
            return [f"attempts do not fit: {_said(row)}"]
        return []

    def _safe(self, case: Case) -> list[float]:
        """Return when attempts began that a rescue must not have taken from their worker."""
        ended = {line["lease"]: line["promise"] for line in case.lines if "promise" in line}
        return [
            line["at"]
            for line in case.lines
            if line["what"] == "start"
            and line["by"] not in self.hurt
            # Without an end it may have been handed back by a process that has ended.
            and ended.get(line["lease"], "completed" if line["by"] in self.living else "")
            == "completed"
        ]

    def _follow(self, row: Ended) -> None:
        """What follows a job is inserted with its end, or not at all."""
        for job_id, step in ((row.id, row.kind == "parent"), (row.parent, -1)):
            if job_id is None or not step:
                continue
            if job_id == row.id and row.state != "completed":
                continue
            self._owed[job_id] += step
            if not self._owed[job_id]:
                del self._owed[job_id]

    def _measure(self, case: Case) -> None:
        """Note how long a job of a process that was killed waited for its rescue."""
        ended = {line["lease"] for line in case.lines if line["what"] == "end"}
        for line in case.lines:
            died = self.died.get(line["by"])
            if died is None or line["what"] != "start" or line["lease"] in ended:
                continue
            self.rescued_after += [
                (round(entry.at - died, 2), line["by"] in self.led)
                for _, entry in case.log
                if entry.lease == line["lease"] and (entry.error or "").startswith("heartbeat")
            ]

    def _limit_handlers(self, rows: list[Ended]) -> None:
        """No more handlers are in a queue at a time than may run, by their own words."""
        for row in rows:
            case = self._cases[row.id]
            queue = max(case.log)[1].queue
            if queue in self._limits and row.errors is None:
                end = {line["lease"]: line["at"] for line in case.lines if line["what"] == "end"}
                self._in_limits += [
                    (line["at"], end[line["lease"]], queue)
                    for line in case.lines
                    if line["what"] == "start" and line["lease"] in end
                ]
        newest = max((begun for begun, _, _ in self._in_limits), default=0.0)
        self.problems += lines_within_limits(self._in_limits, self._limits)
        self._in_limits = [one for one in self._in_limits if one[1] > newest - 10]

    def finish(self) -> list[str]:
        """Return all problems, after the last window: everything must have been judged."""
        left = [case.log[-1][1] for case in self._cases.values() if case.log]
        if left:
            self.problems.append(f"{len(left)} jobs have not ended, one is {left[0]}")
        if self.acknowledged:
            some = sorted(self.acknowledged)[:5]
            self.problems.append(f"{len(self.acknowledged)} acknowledged jobs are lost: {some}")
        if self._owed:
            self.problems.append(f"ends and what follows them do not fit: {self._owed}")
        self.problems += missed(self.together.fires)
        return self.problems


FOLLOWED = {"parent", "child"}


def _is_plain(row: Ended, case: Case) -> bool:
    """Return whether a job was inserted, claimed, run and completed once, and nothing else."""
    if row.kind not in PLAIN or row.kind in FOLLOWED or len(case.log) != 3 or len(case.lines) != 2:
        return False
    (_, first), (_, second), (_, third) = sorted(case.log)
    begun, end = case.lines
    return (
        (first.old, first.new) == (None, "available")
        and (second.old, second.new) == ("available", "running")
        and (third.old, third.new) == ("running", row.state)
        and first.queue == second.queue == third.queue
        and first.queue != "few"
        and (row.state, row.errors, row.attempt) == ("completed", None, 1)
        and first.place == second.place == third.place == row.place
        and second.lease == third.lease == row.lease == begun["lease"] == end["lease"]
        and (begun["what"], end["what"], end.get("promise")) == ("start", "end", "completed")
    )


PLAIN = {
    "ok",
    "blocking",
    "progress",
    "asking",
    "snoozing",
    "long",
    "unique",
    "parent",
    "child",
    "tick",
}


def outcome(row: Ended) -> tuple[str | None, int]:
    """Return the state and the attempts that a job must end with; no state for one of a fault."""
    if row.kind in PLAIN:
        return "completed", 1
    if row.kind == "raising":
        return "failed", 1
    if row.kind == "flaky" and row.fails is not None:
        return "completed", 1 + row.fails
    return None, 0


def _said(row: Ended) -> str:
    return (
        f"job {row.id} ({row.kind}) {row.state} attempt {row.attempt}/{row.max_attempts}: "
        f"{row.errors}"
    )


def missed(fires: dict[str, int]) -> list[str]:
    """Return the gaps between the fires of schedules that fire each second and catch up."""
    times: dict[str, list[datetime]] = {}
    for fire in fires:
        name, at = fire.split(" ", 1)
        times.setdefault(name, []).append(datetime.fromisoformat(at))
    return [
        f"{name} did not fire between {one} and {other}"
        for name, all_times in times.items()
        for one, other in pairwise(sorted(all_times))
        if other - one != timedelta(seconds=1)
    ]
