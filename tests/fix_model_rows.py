"""Compare the rows of a database with the reference model, column by column."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from fix_model import STATES, TIMES, About, Bulk, Job, Key, Model, Near, Session

# Rows are compared within this time of the change that they are compared with.
SLACK = 60.0
ROWS = """
SELECT 'hot', to_jsonb(r) FROM awa.jobs_hot AS r
UNION ALL SELECT 'cold', to_jsonb(r) FROM awa.scheduled_jobs AS r
UNION ALL SELECT 'dead', to_jsonb(r) FROM awa.dead_letters AS r
UNION ALL SELECT 'claim', to_jsonb(r) FROM awa.job_unique_claims AS r
UNION ALL SELECT 'paused', to_jsonb(r) FROM awa.queue_meta AS r
UNION ALL SELECT 'policy', to_jsonb(r) FROM awa.queue_policies AS r
UNION ALL SELECT 'bulk', to_jsonb(r) FROM awa.bulk_operations AS r
"""
FREE = """
WITH hot AS MATERIALIZED (SELECT id FROM awa.jobs_hot FOR UPDATE SKIP LOCKED),
     cold AS MATERIALIZED (SELECT id FROM awa.scheduled_jobs FOR UPDATE SKIP LOCKED),
     dead AS MATERIALIZED (SELECT id FROM awa.dead_letters FOR UPDATE SKIP LOCKED)
SELECT id FROM hot UNION ALL SELECT id FROM cold UNION ALL SELECT id FROM dead
"""
POLICY = ("max_running", "max_running_per_key", "dead_letters")
NEVER_SET = ("callback_filter", "callback_on_complete", "callback_on_fail", "callback_transform")
RENAMED = {"run_lease": "lease", "unique_key": "unique", "unique_states": "mask"}


def read(conn: psycopg.Connection[Any]) -> list[tuple[str, dict[str, Any]]]:
    return conn.execute(ROWS).fetchall()


def places(rows: list[tuple[str, dict[str, Any]]]) -> dict[int, tuple[str, str]]:
    """Return the table and the state of each job."""
    jobs = [(table, row) for table, row in rows if table in ("hot", "cold", "dead")]
    found = [(row["id"], table, row["state"]) for table, row in jobs]
    assert len({one[0] for one in found}) == len(found), f"a job is in two tables: {found}"
    return {job_id: (table, state) for job_id, table, state in found}


def lock_holders(model: Model, conn: psycopg.Connection[Any], session: Session) -> set[int]:
    """Find out which rows the open transaction of a session has locked.

    Returns the other rows: they have been locked for that for a moment.
    """
    free = {row[0] for row in conn.execute(FREE)}
    rows = {key[1] for key, row in model.committed.items() if key[0] == "job" and row is not None}
    others = {job_id for one in model.others(session) for job_id in one.held}
    session.held = frozenset(rows - free - others)
    changed = {key[1] for key in session.pending or {} if key[0] == "job"}
    assert changed & rows <= session.held, "a changed row is not locked"
    return free


class Comparison:
    """The keys that are known, and how rows are compared."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.keys: dict[str, Any] = {}
        """What each unique key is made of."""

    def compare(
        self, session: Session | None, rows: list[tuple[str, dict[str, Any]]], now: datetime
    ) -> None:
        """Compare what a session sees with what it must see; keep the exact times."""
        seen = self.model.view(session)
        expected = {key for key in seen if key[0] in ("job", "claim", "paused", "policy", "bulk")}
        self.learn([row for table, row in rows if table in ("hot", "cold", "dead")], seen)
        places(rows)
        for table, row in rows:
            key = self._key(table, row)
            if key[0] == "paused" and key not in seen and not row["paused"]:
                continue
            assert key in expected, f"{table} has {row}; the model does not"
            expected.discard(key)
            value = seen[key]
            if key[0] == "job":
                exact = same_job(value, table, row, self.keys, now)
                if exact != value:
                    self.model.adopt(session, key, exact)
            else:
                self._same(key, value, row)
        assert not expected, f"rows are gone: {[seen[key] for key in expected]}"

    def learn(self, rows: list[dict[str, Any]], seen: dict[Key, Any]) -> None:
        """Note which bytes stand for which unique key: always the same for the same."""
        for row in rows:
            job = seen.get(("job", row["id"]))
            if row["unique_key"] is not None and job is not None:
                known = self.keys.setdefault(row["unique_key"], job.unique)
                assert known == job.unique
        assert len(set(self.keys.values())) == len(self.keys), self.keys

    def _key(self, table: str, row: dict[str, Any]) -> Key:
        if table in ("hot", "cold", "dead"):
            return ("job", row["id"])
        if table == "claim":
            return ("claim", self.keys.get(row["unique_key"]))
        return (table, row["id"] if table == "bulk" else row["queue"])

    def _same(self, key: Key, value: Any, row: dict[str, Any]) -> None:
        if key[0] == "claim":
            assert value == row["job_id"], f"{key} is held by {row['job_id']}, not by {value}"
        elif key[0] == "paused":
            assert row["paused"], key
        elif key[0] == "policy":
            assert value == {name: row[name] for name in POLICY}, (value, row)
        else:
            names = [one.name for one in fields(Bulk)]
            found = {**row, "deferred": tuple(row["deferred"])}
            assert value == Bulk(**{name: found[name] for name in names}), (value, row)


def same_job(job: Job, table: str, row: dict[str, Any], keys: dict[str, Any], now: datetime) -> Job:
    """Check that a row is the job; return the job with the exact values of the row."""
    row = {RENAMED.get(name, name): value for name, value in row.items()}
    bits = "".join("1" if job.mask >> n & 1 else "0" for n in range(len(STATES)))
    wrong: dict[str, Any] = {}
    if table != job.table:
        wrong["table"] = (job.table, table)
    wrong |= {name: row[name] for name in NEVER_SET if row[name] is not None}
    if (keys.get(row["unique"]), row["mask"]) != (job.unique, bits if job.unique else None):
        wrong["unique"] = (job.unique, row["unique"], row["mask"])
    exact: dict[str, Any] = {}
    for one in fields(Job):
        name, want = one.name, getattr(job, one.name)
        if name in ("unique", "mask"):
            continue
        found = row.get(name)
        if name in TIMES:
            found = None if found is None else datetime.fromisoformat(found)
            fits = same_time(want, found, now)
        elif name == "errors":
            found = tuple(_without_time(entry) for entry in found)
            fits = same_errors(want, found)
        else:
            fits = same_text(want, found)
        if not fits:
            wrong[name] = (want, found)
        if want != found:
            exact[name] = found
    assert not wrong, f"job {job.id} ({job.kind}), model and row differ: {wrong}"
    return replace(job, **exact) if exact else job


def same_time(want: Any, found: datetime | None, now: datetime) -> bool:
    if isinstance(want, Near) and found is not None:
        return want.least - SLACK <= (found - now).total_seconds() <= want.most + SLACK
    return bool(want == found)


def same_text(want: Any, found: Any) -> bool:
    if isinstance(want, About):
        return isinstance(found, str) and all(part in found for part in want.parts)
    return bool(want == found)


def same_errors(want: tuple[dict[str, Any], ...], found: tuple[dict[str, Any], ...]) -> bool:
    return len(want) == len(found) and all(
        mine.keys() == its.keys() and all(same_text(mine[key], its[key]) for key in mine)
        for mine, its in zip(want, found, strict=True)
    )


# The failure is a hash of the rest, and tests of their own check who ran an attempt and when.
_BY_THE_WORKER = {"at", "failure", "worker", "app_version", "started", "heartbeat", "max_attempts"}


def _without_time(entry: dict[str, Any]) -> dict[str, Any]:
    assert datetime.fromisoformat(entry["at"]).tzinfo is not None
    return {key: value for key, value in entry.items() if key not in _BY_THE_WORKER}


def invariants(model: Model) -> None:
    """Check what must hold of all that is committed."""
    jobs: list[Job] = [row for key, row in model.committed.items() if key[0] == "job" and row]
    holders = Counter(job.holds for job in jobs if job.holds is not None)
    assert all(count == 1 for count in holders.values()), holders
    limited: dict[Any, list[int]] = {}
    for key, limit in list(model.committed.items()):
        if key[0] != "limited" or limit is None:
            continue
        job = model.committed.get(("job", key[1][0]))
        if job is None or (job.state, job.lease) != ("running", key[1][1]):
            # What was resumed later runs in addition.
            model.committed[key] = None
            continue
        for scope, most in limit.items():
            if most is not None:
                limited.setdefault(scope, []).append(most)
    for scope, limits in limited.items():
        assert len(limits) <= max(limits), f"{len(limits)} run within {limits} of {scope}"


def clock_skew(conn: psycopg.Connection[Any]) -> float:
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    return float((row[0] - datetime.now(UTC)).total_seconds())
