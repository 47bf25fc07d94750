"""A server, worker processes, a load and a judge: for faults, each alone or two at a time."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
from fix_own_server import OwnServer
from fix_proxy import remote_proxy
from fix_wait import eventually
from history import keep, lines_of
from judge import Judge
from load import Load
from psycopg.conninfo import make_conninfo

import awa_lib as awa

WORKER = Path(__file__).parent / "chaos" / "worker_of_faults.py"
SLOTS = 120
QUEUES = ("one", "two")
LIMITED = "few"
MOST, MOST_PER_KEY = 8, 3
# A record begins with its time, its level and its logger; a traceback follows it.
_RECORD = re.compile(rb"[0-9-]{10} [0-9:,]{12} [A-Z]+ (\S+) ")
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class Member:
    """A worker process with its ledger and what it says of its health."""

    def __init__(
        self,
        fleet: Fleet,
        name: str,
        url: str,
        *,
        proxied: bool = False,
        words: tuple[str, ...] = (sys.executable, str(WORKER)),
        **environment: str,
    ) -> None:
        self.name = name
        self.proxied = proxied
        self.log = fleet.folder / f"{name}.log"
        self._fleet = fleet
        self._read: dict[Path, int] = {}
        self._health = fleet.folder / f"{name}.health"
        given = {"DATABASE_URL": url, "LEDGER": str(fleet.folder), "NAME": name}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                words, env=os.environ | given | environment, start_new_session=True, stdout=log,
                stderr=log,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def hurt(self) -> bool:
        """Killed or stopped: what it ran may have been rescued."""
        return self.name in self._fleet.judge.hurt

    @hurt.setter
    def hurt(self, hurt: bool) -> None:
        if hurt:
            self._fleet.judge.hurt.add(self.name)
            self._fleet.judge.hurt_at.append(time.time())

    @property
    def _ledgers(self) -> list[Path]:
        """Return its ledgers, the oldest first: it begins a new one now and then."""
        found = self._fleet.folder.glob(f"{self.name}.ledger.*")
        return sorted(found, key=lambda path: int(path.suffix[1:]))

    def lines(self) -> list[dict[str, Any]]:
        """Return what its handlers wrote down of late."""
        return [line for path in self._ledgers for line in lines_of(path)]

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """Yield what was written since the last call, and remove ledgers that are full."""
        alive, ledgers = self.alive, self._ledgers
        offset = time.time() - time.monotonic()
        for path in ledgers:
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            # The last line of a process that was killed may be cut off.
            text = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(text)
            # One text for all: a call for each line takes twice as long.
            for line in json.loads(b"[%s]" % b",".join(text.splitlines())):
                line["by"], line["at"] = self.name, line["t"] + offset
                yield line
            # The one before the newest may still get a line of a thread.
            if not alive or path not in ledgers[-2:]:
                path.unlink()

    @property
    def has_lines(self) -> bool:
        """Return whether some of its lines have not been read."""
        return bool(self._ledgers)

    @property
    def last_start(self) -> float:
        """Return when it last began a job, of those of its newest ledger's end."""
        for path in reversed(self._ledgers):
            starts = [line["t"] for line in lines_of(path, 4_000) if line["what"] == "start"]
            if starts:
                return max(starts)
        return 0.0

    def health(self) -> list[dict[str, Any]]:
        """Return what it has said of its health of late."""
        return lines_of(self._health, 40_000)

    @property
    def last(self) -> dict[str, Any]:
        """Return what it said last, if that is not long ago."""
        said = lines_of(self._health, 2_000)
        return said[-1] if said and time.monotonic() - said[-1]["t"] < 3 else {}

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS

    @property
    def logged(self) -> int:
        """Return how many lines its log has, without those about jobs that failed."""
        lines, counts = 0, True
        for line in self.log.read_bytes().splitlines():
            if record := _RECORD.match(line):
                counts = record[1] != b"awa_lib.runtime.failures"
            lines += counts
        return lines

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if number in (signal.SIGKILL, signal.SIGSTOP):
            self.hurt = True
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
            if number == signal.SIGKILL:
                self._fleet.judge.died[self.name] = time.time()
                if self.last.get("leader"):
                    self._fleet.judge.led.add(self.name)


class Fleet:
    """Everything together."""

    def __init__(self, place: Path, seed: int, rate: int = 300, direct: int = 1) -> None:
        self.random = random.Random(seed)
        self.folder = place / "ledger"
        self.folder.mkdir()
        self.server = OwnServer(place / "server", disks=True)
        with awa.Client(self.server.url) as client:
            client.migrate()
            client.set_queue_policy(LIMITED, max_running=MOST, max_running_per_key=MOST_PER_KEY)
        with self.admin() as conn:
            keep(conn)
        self._exits = ExitStack()
        self.proxy = self._exits.enter_context(remote_proxy(self.server.socket))
        self.members: list[Member] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.outages: list[tuple[str, float, float]] = []
        """Of workers while the database was away: name, log lines a minute, share of a processor."""
        self.judge = Judge(
            self.server.url, self._lines, limits={LIMITED: MOST}, key_limits={LIMITED: MOST_PER_KEY}
        )
        self.load = Load(self.server.url, self.judge, seed, rate)
        self._direct = direct
        self._spawned = 0
        self._over = threading.Event()
        self._judging = threading.Thread(target=self._judge, daemon=True)

    # -- processes ---------------------------------------------------------------------------

    def spawn(self, *, proxied: bool = False, **given: Any) -> Member:
        """Start a worker; ``given`` are its words and its environment."""
        url = self.server.url
        if proxied:
            url = make_conninfo(url, host="127.0.0.1", port=str(self.proxy.port))
        member = Member(self, f"w{self._spawned}", url, proxied=proxied, **given)
        self._spawned += 1
        self.members.append(member)
        return member

    @property
    def living(self) -> list[Member]:
        return [m for m in self.members if m.alive]

    def replace_dead(self) -> None:
        """Start anew what has ended: as systemd would."""
        for proxied, wanted in ((True, 1), (False, self._direct)):
            for _ in range(sum(m.proxied is proxied for m in self.living), wanted):
                self.spawn(proxied=proxied)

    def leader(self) -> Member:
        return eventually(lambda: [m for m in self.living if m.last.get("leader")], 20)[0]

    @contextmanager
    def admin(self) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.server.url, autocommit=True, connect_timeout=5) as conn:
            yield conn

    @property
    def asked(self) -> dict[int, set[str]]:
        """What operators asked for, by job."""
        return self.judge.asked

    # -- running -----------------------------------------------------------------------------

    def start(self) -> None:
        self.replace_dead()
        self.load.start()
        self._judging.start()

    def _lines(self) -> Iterator[dict[str, Any]]:
        self.judge.living = {member.name for member in self.living}
        for member in self.members:
            yield from member.new_lines()
        for member in [one for one in self.members if not one.alive]:
            if not member.has_lines:
                self.members.remove(member)

    def _judge(self) -> None:
        # Longer than the server keeps a commit that does not wait for the disk.
        while not self._over.wait(3):
            with suppress(psycopg.Error):
                self.judge.window()

    def restore(self) -> None:
        """Undo what a fault may have left behind when another one interrupted it."""
        self.proxy.let_go()
        self.proxy.delay = 0.0
        for disk in (self.server.wal, self.server.rows):
            if disk is not None:
                disk.empty()
        for member in self.members:
            if member.alive:
                member.kill(signal.SIGCONT)
        self.server.ensure_running()
        with self.admin() as conn:
            conn.execute("SET default_transaction_read_only = off")
            conn.execute("SET statement_timeout = 0")
            conn.execute("ALTER ROLE postgres RESET ALL")
            conn.execute("ALTER SYSTEM RESET ALL")
            conn.execute("SELECT pg_reload_conf()")
            for (name,) in conn.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
                conn.execute(f"ROLLBACK PREPARED '{name}'")
        self.replace_dead()

    def finish(self) -> list[str]:
        """Judge what is left, and return all that was wrong."""
        self._over.set()
        self._judging.join(600)
        with suppress(BaseException):
            eventually(lambda: self.judge.window() or not self.judge.open, 60)
        return [*self.problems, *self.judge.finish()]

    def close(self) -> None:
        self._over.set()
        self.load.close()
        for member in self.members:
            with suppress(ProcessLookupError):
                os.killpg(member.pid, signal.SIGKILL)
            member.process.wait(20)
        if self._judging.is_alive():
            self._judging.join(600)
        self.judge.close()
        self._exits.close()
        with suppress(ProcessLookupError, FileNotFoundError):
            self.server.signal(signal.SIGCONT)
        with suppress(subprocess.SubprocessError):
            self.server.stop()
        self.server.remove_disks()

    # -- looking -----------------------------------------------------------------------------

    def settled(self, seconds: float = 10, of: list[Member] | None = None) -> float:
        """Wait until jobs start in all living workers and one of them leads.

        Return the seconds until jobs started in those of ``of`` that live, and one was completed.
        """
        began, now = time.monotonic(), time.time()
        first = [m for m in of or self.living if m.alive]

        def works() -> bool:
            return all(m.last_start > began for m in first) and self._completed_since(now)

        def well() -> bool:
            if any(m.last_start <= began for m in self.living):
                return False
            last = [m.last for m in self.living]
            return (
                all(said.get("healthy") for said in last)
                and sum(bool(said.get("leader")) for said in last) == 1
            )

        took = seconds
        try:
            eventually(works, seconds)
            took = time.monotonic() - began
            # A new process begins by reading its modules.
            eventually(well, 30)
        except BaseException as error:
            said = [
                (
                    m.name,
                    f"{began - m.last_start:.1f}",
                    m.last.get("healthy"),
                    m.last.get("troubled"),
                )
                for m in self.living
            ]
            self.problems.append(f"not settled: {error!r} {said}")
        return took

    def _completed_since(self, now: float) -> bool:
        with self.admin() as conn:
            found = conn.execute(
                "SELECT FROM awa.jobs_hot WHERE state = 'completed' AND finalized_at > to_timestamp(%s)"
                " LIMIT 1", [now]
            ).fetchone()  # fmt: skip
        return found is not None

    def away(self, seconds: float, take_away: Callable[[], None]) -> None:
        """Take the database away, and measure what workers write and use without it.

        Log lines from the beginning, processor time from two seconds later.
        """
        began = time.monotonic()
        logged = {member: member.logged for member in self.living}
        take_away()
        time.sleep(2)
        quiet = time.monotonic()
        used = {member: member.cpu_seconds for member in logged}
        time.sleep(seconds - (quiet - began))
        now = time.monotonic()
        for member, lines in logged.items():
            minutes = (now - began) / 60
            share = (member.cpu_seconds - used[member]) / (now - quiet)
            self.outages.append((member.name, (member.logged - lines) / minutes, share))

    def expect_unhealthy(self, members: list[Member], since: float, seconds: float = 10) -> None:
        """Note who did not say in time that something is wrong."""
        for member in members:

            def told(member: Member = member) -> bool:
                said = (h["healthy"] for h in member.health() if h["t"] > since)
                return not member.alive or not all(said)

            try:
                eventually(told, max(0.1, since + seconds - time.monotonic()))
            except BaseException:
                self.problems.append(f"{member.name} said it was healthy during an outage")


def states_of(conn: psycopg.Connection[Any], jobs: list[awa.Job]) -> set[str]:
    """Return the states that these jobs are in."""
    rows = conn.execute(
        "SELECT state::text FROM awa.jobs WHERE id = ANY(%s)", ([job.id for job in jobs],)
    )
    return {state for (state,) in rows}
