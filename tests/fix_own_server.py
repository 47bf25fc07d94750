"""A server that a test may stop, kill and freeze: in a directory of its own, by PostgreSQL's tools."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import psycopg
from fix_wait import eventually

from awa_lib.embedded.account import server_account
from awa_lib.embedded.binaries import Binaries, reachable_binaries

FAST = {
    "fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "5s",
    "max_connections": "80", "shared_buffers": "64MB",
    "min_wal_size": "32MB", "max_wal_size": "96MB", "log_min_messages": "fatal",
    "wal_writer_delay": "500ms", "max_prepared_transactions": "2",
}  # fmt: skip


class Disk:
    """A file system of its own, in memory, that can be made full.  Needs root."""

    def __init__(self, place: Path, owner: int, megabytes: int) -> None:
        self.place = place
        self._megabytes = megabytes
        place.mkdir()
        self._mount("-t", "tmpfs", "-o", f"size={megabytes}m,uid={owner},mode=700", "none")

    def _mount(self, *words: str) -> None:
        subprocess.run(
            ["mount", *words, str(self.place)], check=True, timeout=10, capture_output=True
        )

    def fill(self) -> None:
        """Leave no space."""
        eventually(self._fill)

    def _fill(self) -> bool:
        found = os.statvfs(self.place)
        used = (found.f_blocks - found.f_bfree) * found.f_frsize
        # Refused if more has been written meanwhile.
        self._mount("-o", f"remount,size={used}")
        return True

    def empty(self) -> None:
        """Leave as much space as at first."""
        self._mount("-o", f"remount,size={self._megabytes}m")

    def remove(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.place)], check=True, timeout=10)


class OwnServer:
    """A server that can be stopped in every way.

    With ``disks`` its log of changes and its database lie on disks of their own, where that is
    possible: ``wal`` and ``rows``.
    """

    def __init__(
        self, place: Path, programs: Binaries | None = None, *, disks: bool = False
    ) -> None:
        self._account = server_account()
        self._programs = programs or reachable_binaries(self._account)
        self._data = place / "data"
        self.place = place
        place.mkdir(parents=True)
        shutil.chown(place, self._account.uid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.wal: Disk | None = None
        self.rows: Disk | None = None
        words: list[object] = []
        if disks and os.geteuid() == 0 and shutil.which("mount"):
            self.wal = Disk(place / "wal", self._account.uid, 256)
            self.rows = Disk(place / "rows", self._account.uid, 1_000)
            words = ["--waldir", self.wal.place / "pg_wal"]
        self._program("initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8", "-A", "trust",
                      "-N", "--locale=C.UTF-8", *words)  # fmt: skip
        self.start()
        with psycopg.connect(self._url("postgres"), autocommit=True) as conn:
            if self.rows is None:
                conn.execute("CREATE DATABASE awa")
            else:
                conn.execute(f"CREATE TABLESPACE rows LOCATION '{self.rows.place}'")
                conn.execute("CREATE DATABASE awa TABLESPACE rows")

    @property
    def url(self) -> str:
        """Return the address of its database, by its socket."""
        return self._url("awa")

    @property
    def socket(self) -> Path:
        """Return the path of its socket."""
        return self.place / f".s.PGSQL.{self.port}"

    def _url(self, name: str) -> str:
        return f"postgresql://postgres@/{name}?host={self.place}&port={self.port}"

    def _program(self, name: str, *words: object) -> None:
        subprocess.run(
            [str(self._programs.program(name)), *map(str, words)], check=True, timeout=60,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._account.switch,
        )  # fmt: skip

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [f"-c {k}={v}" for k, v in FAST.items()]
        words += [f"-k {self.place} -p {self.port} -c listen_addresses=127.0.0.1"]
        self._program(
            "pg_ctl", "start", "-w", "-D", self._data, "-l", self.place / "log", "-o",
            " ".join(words),
        )  # fmt: skip

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; an immediate stop forgets what was not yet flushed."""
        self._program("pg_ctl", "stop", "-w", "-m", mode, "-D", self._data)

    def remove_disks(self) -> None:
        """Unmount its disks, after it has been stopped."""
        for disk in (self.wal, self.rows):
            if disk is not None:
                disk.remove()

    @property
    def full(self) -> bool:
        """Return whether it has written to its log that a disk is full."""
        return b"No space left on device" in (self.place / "log").read_bytes()[-100_000:]

    def ensure_running(self) -> None:
        """Start it if it does not run, and wait until it answers: it may be recovering."""
        eventually(self._answers, 60)

    def _answers(self) -> bool:
        try:
            pid = self.pids()[0]
        except (FileNotFoundError, IndexError):
            pid = 0
        if not pid or not Path(f"/proc/{pid}").exists():
            self.start()
        with psycopg.connect(self.url, connect_timeout=5):
            return True

    def pids(self) -> list[int]:
        """Return all of its processes."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
