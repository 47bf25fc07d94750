"""The detached process that runs PostgreSQL while it has clients.

``server`` starts it as a script with ``python -I -S`` and one JSON argument, so it imports only the
standard library and is up in about 15 ms.  It polls instead of waiting in flock, because it must
notice four events: the last client leaves, the server dies, its directory is deleted, a signal
arrives.  Five system calls every tenth of a second have no measurable cost.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

__all__ = [
    "clear_leftovers",
    "forget_stale_locks",
    "is_ours",
    "is_ready",
    "listener_pid",
    "main",
    "other_server",
]

_TICK_SECONDS: Final = 0.1
# Until the server is ready.  A server that dies before is not started again.
_STARTING_TICK_SECONDS: Final = 0.005
_STOP_SECONDS: Final = 30.0
# A server that dies more often is not started again.
_RESTARTS: Final = 5
_RESTART_WINDOW_SECONDS: Final = 60.0
_RESTART_PAUSES: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
# Processes of a killed server end when they notice it; a busy process does not notice.
_LEFTOVERS: Final = ((0, 1.0), (signal.SIGQUIT, 3.0), (signal.SIGKILL, 10.0))
_PROC: Final = Path("/proc")


def listener_pid(path: Path) -> int | None:
    """Return the pid of the process that listens on a socket, from the kernel, or None.

    A pid file is less reliable: after a reboot its pid may belong to any process.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return None
        if sys.platform == "darwin":
            solo_local, local_peerpid = 0, 2
            return int(probe.getsockopt(solo_local, local_peerpid))
        size = struct.calcsize("3i")
        credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return int(struct.unpack("3i", credentials)[0])


def is_ready(postmaster_pid: Path) -> bool:
    """Return whether the server has noted in its pid file that it accepts connections."""
    try:
        lines = postmaster_pid.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 - the eighth line


def _sees_processes() -> bool:
    return _PROC.joinpath("self").exists()


def is_ours(pid: int, cluster: Path) -> bool | None:
    """Return whether a process belongs to the server of this data; None if it is not visible.

    The pid in a lock file proves nothing: in a restarted container it may be another process, even
    another server's.  The first process of a server has the data directory in its command line,
    and all of them work in that directory.  A zombie, which a container may keep, does not count.
    """
    if not _sees_processes():
        shown = _shown(pid)
        return "postgres" in shown.split(" ")[0] and str(cluster) in shown
    place = _PROC / str(pid)
    command = b""
    try:
        is_postgres = (place / "comm").read_text().startswith("postgres")
        if not is_postgres or (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return False
        command = (place / "cmdline").read_bytes()
        named = os.fsencode(cluster) in command.split(b"\0")
        return named or os.path.samestat((place / "cwd").stat(), cluster.stat())
    except PermissionError:
        # Root in a container may not read other users' processes.
        return None if command.startswith(b"postgres:") else False
    except (OSError, ValueError, IndexError):
        return False


def _shown(pid: int) -> str:
    """Return the command line of a process by the system's own program; empty without one."""
    return subprocess.run(  # noqa: S603 - the system's own program, and a number
        ["/bin/ps", "-o", "command=", "-p", str(pid)],
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    ).stdout


def other_server(cluster: Path, sockets: Path) -> int | None:
    """Return the pid of a living server of this data whose socket is elsewhere, or None.

    Somebody else started it, so nobody here may end it.  Its first process keeps its command
    line, while the others call themselves ``postgres: NAME``.
    """
    for pid in _processes(cluster):
        if _sees_processes():
            try:
                words = (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            first, ours = words[0], os.fsencode(sockets) in words
        else:
            shown = _shown(pid)
            first, ours = os.fsencode(shown), str(sockets) in shown
        if first and not first.startswith(b"postgres:") and not ours:
            return pid
    return None


def clear_leftovers(cluster: Path) -> list[int]:
    """Wait for the processes of a killed server, then end them; return those that stay.

    They hold its shared memory, and no server starts on the data before they end.  Committed data
    is safe: the next start recovers it.
    """
    if not _sees_processes():
        return []
    left = _processes(cluster)
    for number, seconds in _LEFTOVERS:
        for pid in left if number else ():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        until = time.monotonic() + seconds
        while left and time.monotonic() < until:
            time.sleep(0.02)
            left = [pid for pid in left if is_ours(pid, cluster)] or _processes(cluster)
    return left


def _processes(cluster: Path) -> list[int]:
    if not _sees_processes():
        noted = _noted(cluster / "postmaster.pid")
        return [noted] if noted > 0 and is_ours(noted, cluster) else []
    names = [path.name for path in _PROC.iterdir()]
    return [int(name) for name in names if name.isdigit() and is_ours(int(name), cluster)]


def _noted(path: Path) -> int:
    """Return the number in a lock file of PostgreSQL; 0 without one."""
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return 0


def forget_stale_locks(cluster: Path, sockets: Path) -> None:
    """Delete PostgreSQL's lock files whose process does not belong to the server of this data.

    PostgreSQL ignores the pid of a dead process, but refuses to start while any process of the
    same user has that pid, which is common in a restarted container.
    """
    for path in (cluster / "postmaster.pid", *sockets.glob(".s.PGSQL.*.lock")):
        pid = _noted(path)
        if pid <= 0 or is_ours(pid, cluster) is False:
            path.unlink(missing_ok=True)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Supervisor:
    """One server process, and what keeps it running."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._argv: list[str] = spec["argv"]
        self._switch: dict[str, Any] = spec["switch"]
        self._root = Path(spec["root"])
        self._pid_file = Path(spec["pid_file"])
        self._linger: float = spec["linger"]
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted: int | None = spec["adopt"]
        self._stopping = False
        self._was_ready = self._adopted is not None
        self._starts: list[float] = []
        self._own = self._open("supervisor.lock")
        self._clients = self._open("clients.lock")
        self._start = self._open("start.lock")

    def _open(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._root / name, flags, 0o600)

    def claim(self) -> bool:
        """Take the supervisor lock; retry, because other processes probe it."""
        for _ in range(50):
            if _lock(self._own):
                # At once: a process that finds the lock held trusts the pid in it.
                os.ftruncate(self._own, 0)
                return True
            time.sleep(0.01)
        return False

    def run(self) -> int:
        """Run until no client is left, then stop the server."""
        os.pwrite(self._own, f"{os.getpid()}\n".encode(), 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if self._adopted is None:
            self._launch()
        idle_since: float | None = None
        while not self._stopping:
            time.sleep(_TICK_SECONDS if self._was_ready else _STARTING_TICK_SECONDS)
            if not self._is_home():
                self._stop(signal.SIGQUIT)
                return 0
            wanted = self._is_wanted()
            if not self._alive():
                if not (wanted and self._relaunch()):
                    return 1
                continue
            self._was_ready = self._was_ready or is_ready(self._pid_file)
            if wanted:
                idle_since = None
                continue
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since >= self._linger and self._leave():
                return 0
        self._stop(signal.SIGINT)
        return 0

    def _ask_to_stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _is_home(self) -> bool:
        """Return whether the directory is still the same: it may have been deleted."""
        try:
            found = (self._root / "clients.lock").stat()
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._clients))

    def _is_wanted(self) -> bool:
        if (self._root / "keep").exists():
            return True
        if not _lock(self._clients):
            return True
        fcntl.flock(self._clients, fcntl.LOCK_UN)
        return False

    def _leave(self) -> bool:
        """Stop the server unless a client arrives; return False when it goes on."""
        if not _lock(self._start):
            return False
        if self._is_wanted():
            fcntl.flock(self._start, fcntl.LOCK_UN)
            return False
        self._stop(signal.SIGINT)
        # In this order: the next holder of the start lock must find no supervisor.
        os.close(self._own)
        os.close(self._start)
        return True

    def _launch(self) -> None:
        self._adopted = None
        self._starts.append(time.monotonic())
        self._child = subprocess.Popen(  # noqa: S603 - the caller's own postgres
            self._argv, stdin=subprocess.DEVNULL, cwd="/", umask=0o077, **self._switch
        )

    def _relaunch(self) -> bool:
        """Restart a server that died after it was ready; return False if it must not be."""
        recent = time.monotonic() - _RESTART_WINDOW_SECONDS
        self._starts = [moment for moment in self._starts if moment > recent]
        if not self._was_ready or len(self._starts) >= _RESTARTS:
            return False
        sys.stderr.write("awa: the server died and is restarted\n")
        sys.stderr.flush()
        # Where leftover processes are not visible, they get time to end.
        time.sleep(_RESTART_PAUSES[min(len(self._starts), len(_RESTART_PAUSES)) - 1])
        cluster = self._pid_file.parent
        if other_server(cluster, self._sockets()) is not None:
            sys.stderr.write("awa: another server runs on the data\n")
            return False
        if clear_leftovers(cluster):
            sys.stderr.write("awa: processes of the dead server do not end\n")
            return False
        forget_stale_locks(cluster, self._sockets())
        self._launch()
        return True

    def _sockets(self) -> Path:
        return Path(self._argv[self._argv.index("-k") + 1].strip('"'))

    def _alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return (
            self._adopted is not None and is_ours(self._adopted, self._pid_file.parent) is not False
        )

    def _stop(self, number: int) -> None:
        """Stop the server; committed data is safe with any of the signals."""
        pid = self._child.pid if self._child else self._adopted
        until = time.monotonic() + _STOP_SECONDS
        while pid and self._alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
            # Repeated, because a signal that is sent while the server starts can be lost (seen).
            again = time.monotonic() + 1.0
            while self._alive() and time.monotonic() < again:
                time.sleep(0.005)
            if time.monotonic() > until:
                number = signal.SIGQUIT
        # A socket directory outside the data is removed.
        with contextlib.suppress(OSError, ValueError):
            far = self._sockets()
            if far.parent != self._root:
                far.rmdir()


def main(argv: list[str]) -> int:
    """Take the lock, then detach: when the first process has ended, the lock is held."""
    supervisor = Supervisor(json.loads(argv[0]))
    if not supervisor.claim():
        return 75
    if os.fork():
        return 0
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
