"""Start an embedded server or join a running one, and leave it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from awa_lib.embedded import cluster, locks
from awa_lib.embedded.account import clean_environment, require_posix, server_account
from awa_lib.embedded.binaries import reachable_binaries
from awa_lib.embedded.layout import PORT, layout_of
from awa_lib.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from awa_lib.embedded.account import Account
    from awa_lib.embedded.binaries import Binaries
    from awa_lib.embedded.layout import Layout

__all__ = ["Server", "acquire", "refuse_other_server", "translating"]

_LOCK_SECONDS: Final = 120.0
# Crash recovery of a busy database is slow.
_START_SECONDS: Final = 120.0
# How long the server outlives its last client: a script of many commands starts it once.
_LINGER_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.005
_LOG_BYTES: Final = 1_000_000
# A start writes a WAL segment.
_DISK_BYTES: Final = 20_000_000
# A server that reports ready accepts connections at once.
_REACH_SECONDS: Final = 10.0
_SETTINGS: Final = {"shared_buffers": "128MB", "unix_socket_permissions": "0700"}


class Server:
    """A share in a running server.  Give it up by ``release()`` or as a context manager.

    A forked child has the URL but no share: it must call ``acquire`` itself if it may outlive its
    parent.
    """

    def __init__(self, layout: Layout, descriptor: int) -> None:
        self._layout = layout
        self._descriptor: int | None = descriptor
        self._pid = os.getpid()

    @property
    def url(self) -> str:
        """The URL of the database ``awa``, for libpq and psycopg."""
        return self._layout.url()

    def url_of(self, database: str) -> str:
        """Return the URL of another database of this server."""
        return self._layout.url(database)

    @property
    def data_dir(self) -> Path:
        """The directory of the server's data, log and locks."""
        return self._layout.root

    def release(self) -> None:
        """Give up the share; the server stops after the last.  A second call does nothing."""
        descriptor, self._descriptor = self._descriptor, None
        # In a forked child the descriptor may be another file's by now.
        if descriptor is not None and self._pid == os.getpid():
            locks.give_back(descriptor)

    def pass_on(self) -> None:
        """Keep the share over ``exec``, for the program that replaces this one."""
        if self._descriptor is not None:
            os.set_inheritable(self._descriptor, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<Server {str(self._layout.root)!r}>"


def acquire(
    url_or_path: str | os.PathLike[str],
    *,
    keep_alive: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Server:
    """Start the server of ``embedded:``, ``embedded:PATH`` or a path, or join it; blocks.

    A new directory takes about a second, a start 0.2 s, joining a millisecond.  With
    ``keep_alive`` the server stays up without clients until ``stop``.  ``settings`` are
    PostgreSQL's; they apply only if this call starts the server, which is durable by default.
    Raises EmbeddedError.
    """
    require_posix()
    layout = layout_of(url_or_path)
    account = server_account()
    with translating(layout):
        cluster.make_directory(layout, account)
        with locks.hold(layout.start_lock, seconds=_LOCK_SECONDS):
            # Again, because a reset may have taken the lock first.
            cluster.make_directory(layout, account)
            descriptor = locks.share(layout.clients_lock)
            try:
                _bring_up(layout, account, settings or {})
                if keep_alive:
                    layout.keep.touch()
            except BaseException:
                locks.give_back(descriptor)
                raise
    return Server(layout, descriptor)


@contextmanager
def translating(layout: Layout) -> Iterator[None]:
    """Translate errors of the file system into EmbeddedError."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or layout.root)
        raise EmbeddedError(
            f"cannot use {str(layout.root)!r} for the embedded PostgreSQL",
            why=f"{error.strerror or error}: {where!r}",
            hint="make it writable, free space on it, or use another directory: embedded:PATH",
        ) from error


def _bring_up(layout: Layout, account: Account, settings: Mapping[str, str]) -> None:
    """Return when the server accepts connections; under the start lock."""
    from awa_lib.embedded.supervisor import is_ready, listener_pid

    binaries: Binaries | None = None
    log_start = 0
    until = time.monotonic() + _START_SECONDS
    ready_since: float | None = None
    while True:
        if locks.is_held(layout.supervisor_lock):
            if not is_ready(layout.postmaster_pid):
                ready_since = None
            elif listener_pid(layout.socket) is not None:
                break
            elif time.monotonic() - (ready_since := ready_since or time.monotonic()) > (
                _REACH_SECONDS
            ):
                raise _unreachable(layout)
        elif binaries is not None:
            raise _failure(layout, log_start)
        else:
            binaries, log_start = _start(layout, account, settings)
        if time.monotonic() > until:
            raise _failure(layout, log_start)
        time.sleep(_POLL_SECONDS)
    if not layout.has_database.exists():
        # Also if the process that started the server was killed before this.
        found = binaries or reachable_binaries(account, major=cluster.data_major(layout))
        cluster.make_database(layout, found)


def _failure(layout: Layout, log_start: int) -> EmbeddedError:
    disk = os.statvfs(layout.root)
    full = disk.f_bavail * disk.f_frsize < _DISK_BYTES or (disk.f_files and not disk.f_favail)
    return EmbeddedError(
        f"the embedded PostgreSQL in {str(layout.root)!r} did not start",
        why=cluster.tail(layout, log_start) or "it wrote nothing to its log",
        hint=f"the disk is full, free space on it: df -h {shlex.quote(str(layout.root))}"
        if full
        else f"see the whole log: {layout.log}; the data stays as it is, and another directory "
        "works meanwhile: embedded:PATH",
    )


def _unreachable(layout: Layout) -> EmbeddedError:
    return EmbeddedError(
        f"the embedded PostgreSQL in {str(layout.root)!r} runs but cannot be reached",
        why=f"its socket {str(layout.socket)!r} was deleted or does not answer",
        hint=f"stop it: awa dev down --data-dir {shlex.quote(str(layout.root))}; it starts again "
        "on next use",
    )


def _start(layout: Layout, account: Account, settings: Mapping[str, str]) -> tuple[Binaries, int]:
    """Start a supervisor, which starts the server or adopts one that lost its supervisor.

    Also returns the size of the log before the start.
    """
    from awa_lib.embedded import supervisor

    binaries = reachable_binaries(account, major=cluster.data_major(layout))
    orphan = supervisor.listener_pid(layout.socket)
    if orphan == 0:
        raise EmbeddedError(
            f"the embedded PostgreSQL in {str(layout.root)!r} runs in another container",
            why="it answers on its socket, but its process is not visible here",
            hint="stop it there: awa dev down, or name another directory: embedded:PATH",
        )
    if orphan is None:
        _prepare(layout, account, binaries, settings)
    spec = {
        "argv": _command(layout, binaries, settings),
        "switch": account.switch,
        "root": str(layout.root),
        "pid_file": str(layout.postmaster_pid),
        "linger": _LINGER_SECONDS,
        "adopt": orphan,
    }
    # Isolated and without site: no package of the user's can slow it down or break it.
    with layout.log.open("ab") as log:
        log_start = log.tell()
        subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", supervisor.__file__, json.dumps(spec)],
            env=clean_environment(),
            cwd="/",
            start_new_session=True,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    return binaries, log_start


def _prepare(
    layout: Layout, account: Account, binaries: Binaries, settings: Mapping[str, str]
) -> None:
    """Remove the leftovers of an earlier server, and create what is missing."""
    from awa_lib.embedded import supervisor

    # A server that stopped normally leaves no pid file and no process.
    if layout.postmaster_pid.exists():
        refuse_other_server(layout)
        left = supervisor.clear_leftovers(layout.cluster)
        if left:
            raise EmbeddedError(
                f"processes of an earlier server in {str(layout.root)!r} do not end",
                why="the server was killed, and they hold its shared memory",
                hint=f"end them: kill -9 {' '.join(map(str, left))}",
            )
    if cluster.data_major(layout) is None:
        cluster.make_cluster(layout, account, binaries, settings)
    cluster.make_sockets(layout, account)
    supervisor.forget_stale_locks(layout.cluster, layout.sockets)
    layout.has_database.unlink(missing_ok=True)
    facts = {"version": binaries.version, "bin_dir": str(binaries.bin_dir)}
    layout.facts.write_text(json.dumps(facts) + "\n")
    if layout.log.exists() and layout.log.stat().st_size > _LOG_BYTES:
        layout.log.rename(layout.root / "server.log.1")


def refuse_other_server(layout: Layout) -> None:
    """Raise EmbeddedError if a server that awa did not start runs on this data."""
    from awa_lib.embedded.supervisor import other_server

    pid = other_server(layout.cluster, layout.sockets)
    if pid is not None:
        raise EmbeddedError(
            f"the data in {str(layout.root)!r} is in use by another PostgreSQL",
            why=f"process {pid} was not started by awa, and has its socket elsewhere",
            hint=f"connect to that server by its own URL, or stop it: "
            f"pg_ctl -D {shlex.quote(str(layout.cluster))} stop",
        )


def _command(layout: Layout, binaries: Binaries, settings: Mapping[str, str]) -> list[str]:
    options = [f"{name}={value}" for name, value in {**_SETTINGS, **settings}.items()]
    return [
        str(binaries.program("postgres")),
        "-D",
        str(layout.cluster),
        "-p",
        str(PORT),
        "-k",
        str(layout.sockets),
        "-h",
        "",
        *(part for option in options for part in ("-c", option)),
    ]
