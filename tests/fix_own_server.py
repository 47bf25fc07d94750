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

from awa_lib.embedded.account import server_account
from awa_lib.embedded.binaries import Binaries, reachable_binaries

FAST = {
    "fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "5s",
    "max_connections": "80", "shared_buffers": "64MB", "log_min_messages": "fatal",
    "wal_writer_delay": "500ms",
}  # fmt: skip


class OwnServer:
    """A server that can be stopped in every way."""

    def __init__(self, place: Path, programs: Binaries | None = None) -> None:
        self._account = server_account()
        self._programs = programs or reachable_binaries(self._account)
        self._data = place / "data"
        self.place = place
        place.mkdir(parents=True)
        shutil.chown(place, self._account.uid)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._program("initdb", "-D", self._data, "-U", "postgres", "-E", "UTF8", "-A", "trust",
                      "-N", "--locale=C.UTF-8")  # fmt: skip
        self.start()
        with psycopg.connect(self._url("postgres"), autocommit=True) as conn:
            conn.execute("CREATE DATABASE awa")

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

    def ensure_running(self) -> None:
        """Start it if it does not run."""
        try:
            pid = self.pids()[0]
        except (FileNotFoundError, IndexError):
            pid = 0
        if not pid or not Path(f"/proc/{pid}").exists():
            self.start()

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
