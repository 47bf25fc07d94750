"""Prove from data that a run was right: the log of all rows, and what handlers wrote down.

``keep`` installs triggers that log each change of a job's state in any of its tables.  Handlers and
producers write a ledger: a line for each job that was acknowledged, for the start and the end of
each handler, and for each change that an operator asked for.  ``problems`` compares both, and the
rows that are left.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

ENDED = ("completed", "failed", "cancelled")
OWNED = ("running", "waiting_external")
PLACES = {"scheduled": "scheduled_jobs", "retryable": "scheduled_jobs"}
RESCUES = ("heartbeat stale", "hard deadline exceeded", "callback timed out")
KEEP = """
CREATE TABLE public.history (
    seq bigint GENERATED ALWAYS AS IDENTITY, place text, id bigint, queue text, old text, new text,
    lease bigint, attempt int, released bytea, taken bytea, error text, limit_key text, fire text,
    at timestamptz DEFAULT clock_timestamp(), xid xid8 DEFAULT pg_current_xact_id()
);
"""
# For each statement, with all of its rows: a trigger for each row costs 30 us of it.  The name puts
# the triggers behind those of unique keys: a key is logged when it is held.
TRIGGERS = """
CREATE FUNCTION public.keep_{table}_{event}() RETURNS trigger LANGUAGE plpgsql
-- Workers turn it off: see HOT_PLANS.
SET enable_hashjoin = on AS $$
BEGIN
    IF current_setting('application_name') <> '{judge}' THEN
        INSERT INTO public.history (
            place, id, queue, old, new, lease, attempt, released, taken, error, limit_key, fire)
        SELECT TG_TABLE_NAME, {row}.id, {row}.queue, {old}, {new}, {row}.run_lease, {row}.attempt,
               {released}, {taken}, {error}, {row}.metadata ->> '_awa_concurrency_key', {fire}
        FROM {rows};
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER zz_history_{event} AFTER {event} ON awa.{table}
    REFERENCING {transition}
    FOR EACH STATEMENT EXECUTE FUNCTION public.keep_{table}_{event}();
"""
_KEY = "CASE WHEN awa.job_state_in_bitmask({0}.unique_states, {0}.state) THEN {0}.unique_key END"
_ERROR = "left(n.errors[cardinality(n.errors)] ->> 'error', 100)"
_FIRE = """CASE WHEN NOT n.metadata ? 'triggered_manually'
    THEN n.metadata ->> 'cron_name' || ' ' || (n.metadata ->> 'cron_fire_time') END"""
_NOTHING = dict.fromkeys(("old", "new", "released", "taken", "error", "fire"), "NULL")
_OLD = {"old": "o.state", "released": _KEY.format("o")}
_NEW = {"new": "n.state", "taken": _KEY.format("n"), "error": _ERROR}
EVENTS: dict[str, dict[str, str]] = {
    "insert": {
        **_NOTHING, **_NEW, "row": "n", "rows": "new_rows AS n", "fire": _FIRE,
        "transition": "NEW TABLE AS new_rows",
    },
    "update": {
        **_NOTHING, **_OLD, **_NEW, "row": "n",
        "rows": "new_rows AS n JOIN old_rows AS o USING (id) WHERE (o.state, o.run_lease, o.queue)"
        " IS DISTINCT FROM (n.state, n.run_lease, n.queue)",
        "transition": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    },
    "delete": {
        **_NOTHING, **_OLD, "row": "o", "rows": "old_rows AS o",
        "transition": "OLD TABLE AS old_rows",
    },
}  # fmt: skip
JUDGE = "awa judge"
"""The application_name whose changes are not logged: it deletes what it has judged."""
LOG = """
SELECT place, id, queue, old, new, lease, attempt, released, taken, error, limit_key, fire,
       extract(epoch FROM at)::float8
FROM public.history
"""
ROWS = """
SELECT id, 'jobs_hot', state::text, run_lease FROM awa.jobs_hot
UNION ALL SELECT id, 'scheduled_jobs', state::text, run_lease FROM awa.scheduled_jobs
UNION ALL SELECT id, 'dead_letters', state::text, run_lease FROM awa.dead_letters
"""


class Entry(NamedTuple):
    """A change of a row: inserted without ``old``, deleted without ``new``."""

    place: str
    id: int
    queue: str
    old: str | None
    new: str | None
    lease: int
    attempt: int
    released: bytes | None = None
    """The unique key that the row held before."""
    taken: bytes | None = None
    """The unique key that the row holds after it."""
    error: str | None = None
    """The beginning of the latest error."""
    limit_key: str | None = None
    fire: str | None = None
    """The schedule and the time that the job was inserted for."""
    at: float = 0.0
    """When, in seconds since 1970 by the server's clock."""


class Row(NamedTuple):
    """A row that is left."""

    id: int
    place: str
    state: str
    lease: int


class Move(NamedTuple):
    """A change of a job, whether in one table or from one to another."""

    old: str | None
    new: str | None
    lease: int
    queue: str
    error: str | None


@dataclass
class History:
    """All that is known of a run."""

    log: list[Entry]
    rows: list[Row]
    ledger: list[dict[str, Any]]
    limits: dict[str, int] = field(default_factory=dict)
    """How many jobs of a queue may run at a time."""
    key_limits: dict[str, int] = field(default_factory=dict)
    """How many jobs with one concurrency key."""
    cleans: bool = True
    """Whether jobs that have ended may be deleted."""

    def lines(self, what: str) -> Iterator[dict[str, Any]]:
        return (line for line in self.ledger if line["what"] == what)


def keep(conn: psycopg.Connection[Any]) -> None:
    """Log all changes of jobs from now on."""
    conn.execute(KEEP)
    for table in ("jobs_hot", "scheduled_jobs", "dead_letters"):
        for event, parts in EVENTS.items():
            without = {"released": "NULL", "taken": "NULL"} if table == "dead_letters" else {}
            words = {"table": table, "event": event, "judge": JUDGE, **parts, **without}
            conn.execute(TRIGGERS.format(**words))


def read(conn: psycopg.Connection[Any], ledger: Iterable[dict[str, Any]], **known: Any) -> History:
    with conn.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        log = [Entry(*row) for row in cursor.execute(LOG + "ORDER BY seq")]
        rows = [Row(*row) for row in cursor.execute(ROWS)]
    return History(log, rows, list(ledger), **known)


def lines_of(path: Path, last: int = 0) -> list[dict[str, Any]]:
    """Return the lines of a ledger, or of its last bytes."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        if last and path.stat().st_size > last:
            file.seek(-last, os.SEEK_END)
            file.readline()
        # The last line of a process that was killed may be cut off.
        return [json.loads(line) for line in file.read().split(b"\n")[:-1] if line]


def problems(history: History) -> list[str]:
    """Return what was wrong; nothing when the run was right."""
    together = Together(history.limits, history.key_limits)
    return [
        *problems_of_jobs(history),
        *together.take(history.log),
        *_handlers_within_limits(history),
    ]


def problems_of_jobs(history: History) -> list[str]:
    """Return what was wrong with a job by itself: a history of some jobs is enough."""
    moves, found = follow(history.log)
    return [
        *found,
        *_rows(history, moves),
        *_acknowledged(history, moves),
        *_leases(moves),
        *_ends(history, moves),
        *_overlaps(history, moves),
    ]


def follow(log: list[Entry]) -> tuple[dict[int, list[Move]], list[str]]:
    """Return the changes of each job in order, and where one does not follow from the other."""
    moves: dict[int, list[Move]] = defaultdict(list)
    where: dict[int, tuple[str, str] | None] = {}
    gone: dict[int, str | None] = {}
    wrong: list[str] = []
    for entry in log:
        now = where.get(entry.id)
        before = None if entry.old is None else (entry.place, entry.old)
        if now != before:
            wrong.append(f"job {entry.id} was {now}, and {entry} changed it")
        where[entry.id] = None if entry.new is None else (entry.place, entry.new)
        if entry.new is None:
            # Either deleted, or the first half of a move to another table.
            gone[entry.id] = entry.old
            moves[entry.id].append(Move(entry.old, None, entry.lease, entry.queue, None))
            continue
        old = entry.old
        if old is None and entry.id in gone:
            old = gone.pop(entry.id)
            moves[entry.id].pop()
        moves[entry.id].append(Move(old, entry.new, entry.lease, entry.queue, entry.error))
    return moves, wrong


def _rows(history: History, moves: dict[int, list[Move]]) -> Iterator[str]:
    """Each job is in one table, that of its state, as it was changed last."""
    counts = Counter(row.id for row in history.rows)
    yield from (f"job {job_id} is in two tables" for job_id, n in counts.items() if n > 1)
    for row in history.rows:
        last = moves[row.id][-1] if row.id in moves else None
        if last is None or (last.new, last.lease) != (row.state, row.lease):
            yield f"{row} was last changed by {last}"
        if row.place not in ("dead_letters", PLACES.get(row.state, "jobs_hot")):
            yield f"{row} is in the wrong table"
        if row.place == "dead_letters" and row.state != "failed":
            yield f"{row} is no dead letter"
    for job_id, changes in moves.items():
        if changes[-1].new is not None and job_id not in counts:
            yield f"job {job_id} is gone"


def _acknowledged(history: History, moves: dict[int, list[Move]]) -> Iterator[str]:
    """Each acknowledged job exists, or was deleted after it had ended."""
    for line in history.lines("inserted"):
        job_id = line["id"]
        if job_id not in moves:
            yield f"job {job_id} was acknowledged and never existed"
    for job_id, changes in moves.items():
        last = changes[-1]
        if last.new is None and not (history.cleans and last.old in ENDED):
            yield f"job {job_id} was deleted while it was {last.old}"


def _leases(moves: dict[int, list[Move]]) -> Iterator[str]:
    """A claim has a lease of its own, only its lease ends the attempt, and that once."""
    for job_id, changes in moves.items():
        seen: set[int] = set()
        current = 0
        for move in changes:
            if (move.old, move.new) == ("available", "running"):
                if move.lease in seen:
                    yield f"job {job_id} was claimed twice under lease {move.lease}"
                seen.add(move.lease)
                current = move.lease
            elif move.old in OWNED and move.lease != current:
                yield f"job {job_id}: lease {move.lease} ended the attempt of {current}: {move}"
            elif move.new == "running" and move.old != "waiting_external":
                yield f"job {job_id} runs after {move.old}"
            elif move.old == "completed" and move.new is not None:
                yield f"job {job_id} was completed and became {move.new}"


PROMISED = {
    "completed": {"completed"},
    "failed": {"failed"},
    "retryable": {"failed", "later"},
    "scheduled": {"snoozed"},
    "cancelled": {"cancelled"},
}


def _ends(history: History, moves: dict[int, list[Move]]) -> Iterator[str]:
    """Each attempt ended as its handler said, or was taken from it."""
    promised = _promises(history)
    answered = {line["id"] for line in history.lines("answered")}
    begun = {(line["id"], line["lease"]) for line in history.lines("start")}
    asked: dict[int, set[str]] = defaultdict(set)
    for line in history.lines("asked"):
        asked[line["id"]].add(line["for"])
    for job_id, changes in moves.items():
        for move in changes:
            if move.old not in OWNED or move.new in (None, "available", *OWNED):
                continue
            said = promised.get((job_id, move.lease))
            if said in PROMISED.get(move.new or "", ()) or is_rescue(move):
                continue
            if move.new == "cancelled" and "cancel" in asked[job_id]:
                continue
            if move.new == "scheduled" and (job_id, move.lease) not in begun:
                # A job of processes that died is left to an idle one before it begins.
                continue
            if job_id not in answered:
                yield f"job {job_id} became {move.new} under {move.lease}; its handler said {said}"


def _promises(history: History) -> dict[tuple[int, int], str]:
    return {(line["id"], line["lease"]): line["promise"] for line in history.lines("end")}


def is_rescue(move: Move) -> bool:
    """Return whether the leader took the job from its attempt."""
    return move.new in ("retryable", "failed") and (move.error or "").startswith(RESCUES)


def _overlaps(history: History, moves: dict[int, list[Move]]) -> Iterator[str]:
    """No handler starts twice, nor while another one has the job, unless it lost the job before."""
    starts = Counter((line["id"], line["lease"]) for line in history.lines("start"))
    yield from (f"started twice: {pair}" for pair, count in starts.items() if count > 1)
    begun = {(line["id"], line["lease"]): line["t"] for line in history.lines("start")}
    over = {(line["id"], line["lease"]): line["t"] for line in history.lines("end")}
    for job_id, changes in moves.items():
        leases = [
            move.lease for move in changes if (move.old, move.new) == ("available", "running")
        ]
        leases = [lease for lease in leases if (job_id, lease) in begun]
        for one, other in pairwise(leases):
            if over.get((job_id, one), float("inf")) <= begun[job_id, other]:
                continue
            exits = [m for m in changes if m.lease == one and m.old in OWNED]
            if not any(_is_taken(move) for move in exits):
                yield f"two handlers have job {job_id} at a time: {one} and {other}"


def _is_taken(move: Move) -> bool:
    """Return whether somebody else ended the attempt: rescued, handed back, cancelled, retried."""
    return is_rescue(move) or move.new in ("available", "cancelled")


class Together:
    """What holds for jobs together: keys, limits and schedules.  Takes the log piece by piece."""

    def __init__(self, limits: dict[str, int], key_limits: dict[str, int]) -> None:
        self._limits = limits
        self._key_limits = key_limits
        self._holders: dict[bytes, int] = {}
        self._running: dict[tuple[str, str | None], set[int]] = defaultdict(set)
        self.fires: dict[str, int] = {}
        """The job of each schedule and time."""

    def take(self, log: Iterable[Entry]) -> Iterator[str]:
        """Yield what is wrong with the next piece of the log."""
        for entry in log:
            if entry.released is not None or entry.taken is not None:
                yield from self._key(entry)
            if entry.queue in self._limits or entry.queue in self._key_limits:
                yield from self._limit(entry)
            if entry.fire is not None:
                job_id = self.fires.setdefault(entry.fire, entry.id)
                if job_id != entry.id:
                    yield f"{entry.fire} was fired as {job_id} and {entry.id}"

    def _key(self, entry: Entry) -> Iterator[str]:
        """At most one job holds a unique key."""
        if entry.released is not None and self._holders.get(bytes(entry.released)) == entry.id:
            del self._holders[bytes(entry.released)]
        if entry.taken is not None:
            holder = self._holders.setdefault(bytes(entry.taken), entry.id)
            if holder != entry.id:
                yield f"jobs {holder} and {entry.id} hold one unique key"

    def forget_keys_of(self, job_ids: set[int]) -> None:
        """Release the keys of jobs that the judge deletes."""
        self._holders = {key: one for key, one in self._holders.items() if one not in job_ids}

    def _limit(self, entry: Entry) -> Iterator[str]:
        """No claim exceeds a limit; a job that was resumed runs in addition."""
        scopes = {(entry.queue, None), (entry.queue, entry.limit_key)}
        for scope in scopes:
            if (entry.old, entry.new) == ("available", "running"):
                self._running[scope].add(entry.id)
                most = (self._limits if scope[1] is None else self._key_limits).get(entry.queue)
                running = self._running[scope]
                if most is not None and len(running) > most:
                    key = "" if scope[1] is None else f" with key {scope[1]}"
                    yield f"{len(running)} jobs of {entry.queue}{key} run, {most} may: {running}"
            elif entry.old == "running":
                self._running[scope].discard(entry.id)


def _handlers_within_limits(history: History) -> Iterator[str]:
    queues = {entry.id: entry.queue for entry in history.log}
    over = {(line["id"], line["lease"]): line["t"] for line in history.lines("end")}
    return lines_within_limits(
        (
            (line["t"], over[line["id"], line["lease"]], queues[line["id"]])
            for line in history.lines("start")
            if line["id"] in queues and (line["id"], line["lease"]) in over
        ),
        history.limits,
    )


def lines_within_limits(
    ran: Iterable[tuple[float, float, str]], limits: dict[str, int]
) -> Iterator[str]:
    """No more handlers have been in a queue at a time than may run, by their own words."""
    steps: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for begun, end, queue in ran:
        if queue in limits:
            steps[queue] += [(begun, 1), (end, -1)]
    for queue, changes in steps.items():
        inside = 0
        for _, change in sorted(changes):
            inside += change
            if inside > limits[queue]:
                yield f"{inside} handlers of {queue} ran at a time"
                break
