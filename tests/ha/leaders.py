"""Change the leader of a fleet again and again, while schedules fire each second."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from contextlib import suppress

import psycopg
from fix_cluster import Cluster
from fix_cluster_load import Load, Worker
from fix_wait import eventually
from psycopg.conninfo import make_conninfo

LEADER = """
SELECT a.pid, a.application_name FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND (l.classid::bigint << 32) + l.objid::bigint = %s
"""
# The key of try_lead in sql/queries/runtime.sql.
KEY = 4708303813012965710
NAMES = ("w1", "w2", "w3")


class Leaders:
    """Three workers that want to lead, and the one that does."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._cluster: Cluster = load.cluster
        self._random = random.Random(1)
        self._workers = {name: self._start(name) for name in NAMES}
        self.done: Counter[str] = Counter()
        eventually(self._leader, 60)

    def _start(self, name: str) -> Worker:
        url = make_conninfo(self._cluster.hosts_url, application_name=name)
        return self._load.work(name, url, AWA_TEST_ELECTION_MS="200")

    def _leader(self) -> tuple[int, str] | None:
        node = self._cluster.primary()
        if node is None:
            return None
        # A busy machine, or a host that stops being the primary just now.
        with suppress(psycopg.Error), psycopg.connect(node.admin_url, connect_timeout=5) as conn:
            return conn.execute(LEADER, (KEY,)).fetchone()
        return None

    def change(self, *, switches: bool) -> None:
        """Force one change of the process that leads."""
        eventually(self._leader, 60)
        found = self._leader()
        if found is None:
            return
        pid, name = found
        how = self._random.choices(
            ("terminate", "kill", "stop", "switchover"), (80, 10, 5, 5 if switches else 0)
        )[0]
        worker = self._workers[name]
        if how == "terminate":
            self._terminate(pid)
        elif how == "kill":
            worker.end()
            self._load.workers.remove(worker)
            self._workers[name] = self._start(name)
        elif how == "stop":
            # As long as the server needs to end the silent session, and a little longer.
            worker.signal(signal.SIGSTOP)
            eventually(lambda: self._other_than(name), 30)
            worker.signal(signal.SIGCONT)
        else:
            eventually(self._cluster.complete, 120)
            self._cluster.switch_over()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            now = self._leader()
            if now is not None and now[0] != pid:
                self.done[how] += 1
                self.done["of the process"] += now[1] != name
                return
            if now is not None and how == "terminate":
                self._terminate(pid)
            time.sleep(0.02)
        raise AssertionError(f"nobody leads after {how}")

    def _terminate(self, pid: int) -> None:
        node = self._cluster.primary()
        if node is not None:
            node.ask(f"SELECT pg_terminate_backend({pid})")

    def _other_than(self, name: str) -> bool:
        found = self._leader()
        return found is not None and found[1] != name
