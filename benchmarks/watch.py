"""What processes and a server use: read from /proc and from the server's own statistics."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psycopg

TICKS = os.sysconf("SC_CLK_TCK")
MIB = 2**20


def cpu_of(pid: int, *, children: bool = False) -> float:
    """Return the CPU seconds of a process, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if children else 13])) / TICKS


def memory_of(pid: int) -> dict[str, float]:
    """Return RSS, PSS and private memory in MiB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, size = line.partition(":")
        found[name] = int(size.split()[0]) / 1024
    return {
        "rss_mib": round(found["Rss"], 2), "pss_mib": round(found["Pss"], 2),
        "anonymous_mib": round(found["Pss_Anon"], 2),
    }  # fmt: skip


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def busy_seconds() -> float:
    """Return the CPU seconds that the whole machine has used."""
    with open("/proc/stat") as stat:
        fields = [int(one) for one in stat.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


class ServerProcesses:
    """The processes of a PostgreSQL server."""

    def __init__(self, conn: psycopg.Connection) -> None:
        (directory,) = conn.execute("SHOW data_directory").fetchone()
        self.pid = int((Path(directory) / "postmaster.pid").read_text().split()[0])

    def cpu(self) -> float:
        while True:
            before = cpu_of(self.pid, children=True)
            try:
                total = before + sum(map(cpu_of, children_of(self.pid)))
            except OSError:
                continue
            # A child that ended meanwhile is in its parent now, and would be in neither.
            if cpu_of(self.pid, children=True) == before:
                return total

    def memory_mib(self) -> float:
        """Return the private memory of all backends."""
        total = 0.0
        for child in children_of(self.pid):
            try:
                total += memory_of(child)["anonymous_mib"]
            except OSError:
                continue
        return round(total, 1)


class Meter:
    """What a part of a run costs the server: WAL, commits and CPU, less those of its own looks."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn, self.server = conn, ServerProcesses(conn)
        self.looks = 0
        self.begin()

    def count(self, query: str) -> int:
        """Return the only value of a query, as a look of its own."""
        self.looks += 1
        return int(self.conn.execute(query).fetchone()[0])

    def begin(self) -> None:
        self._commits = self._others_commits()
        self._wal = self.count(WAL)
        self._cpu = self._used()

    def used(self, jobs: int) -> dict[str, float]:
        """Return what a job has cost since the beginning."""
        self._wait_for_others()
        cpu, wal = self._used() - self._cpu, self.count(WAL) - self._wal
        commits, jobs = self._others_commits() - self._commits, max(jobs, 1)
        return {
            "wal_bytes": round(wal / jobs),
            "commits": round(commits / jobs, 5),
            "server_cpu_us": round(1e6 * cpu / jobs, 1),
        }

    def rates(self, seconds: float) -> dict[str, float]:
        """Return what the server did in a second since the beginning."""
        cpu = self._used() - self._cpu
        return {
            "transactions_per_second": round((self._others_commits() - self._commits) / seconds, 2),
            "server_percent": round(100 * cpu / seconds, 2),
        }

    def _others_commits(self) -> int:
        # The session's own are counted at once then, up to this statement.
        self.conn.execute("SELECT pg_stat_force_next_flush()")
        self.looks += 1
        own = self.looks
        return self.count(COMMITS) - own

    def _used(self) -> float:
        return self.server.cpu() - cpu_of(self.conn.info.backend_pid)

    def _wait_for_others(self) -> None:
        """Wait until other sessions are gone: their commits and CPU are counted then."""
        until = time.monotonic() + LONGEST_GOING
        while self.count(OTHERS) and time.monotonic() < until:
            time.sleep(0.02)


COMMITS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'"
OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
LONGEST_GOING = 3.0


def tables(conn: psycopg.Connection) -> dict[str, dict[str, float]]:
    """Return the size of each table of awa with its indexes, and its dead rows."""
    rows = conn.execute(
        "SELECT relname, pg_relation_size(relid), pg_indexes_size(relid), n_live_tup, n_dead_tup"
        " FROM pg_stat_user_tables WHERE schemaname = 'awa'"
    ).fetchall()
    return {
        name: {"mib": round(heap / MIB, 2), "indexes_mib": round(indexes / MIB, 2),
               "live": live, "dead": dead}
        for name, heap, indexes, live, dead in rows
    }  # fmt: skip


def indexes(conn: psycopg.Connection) -> dict[str, float]:
    """Return the size of each index of awa, in MiB."""
    rows = conn.execute(
        "SELECT indexrelname, pg_relation_size(indexrelid) FROM pg_stat_user_indexes"
        " WHERE schemaname = 'awa'"
    ).fetchall()
    return {name: round(size / MIB, 3) for name, size in rows}


def connections(conn: psycopg.Connection) -> dict[str, int]:
    """Return the number of connections by application name."""
    rows = conn.execute(
        "SELECT application_name, count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1"
    ).fetchall()
    return dict(rows)


def wal_bytes(conn: psycopg.Connection) -> int:
    return int(conn.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()[0])


def lines_in(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
