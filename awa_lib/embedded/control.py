"""Describe, stop and delete an embedded server, without connecting to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from awa_lib.embedded import locks
from awa_lib.embedded.account import require_posix
from awa_lib.embedded.cluster import data_major
from awa_lib.embedded.layout import layout_of
from awa_lib.embedded.server import refuse_other_server, translating
from awa_lib.errors import EmbeddedError

if TYPE_CHECKING:
    from awa_lib.embedded.layout import Layout

__all__ = ["ServerStatus", "reset", "status", "stop"]

_LOCK_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known of one data directory."""

    running: bool
    pid: int | None
    version: str | None
    """Of the running server, else the major version of the data; None without data."""
    data_dir: Path
    url: str
    """Valid while it is running."""
    size_bytes: int
    kept: bool
    """It stays up without clients."""
    in_use: bool
    """A process holds a share in it."""


def status(url_or_path: str | os.PathLike[str]) -> ServerStatus:
    """Return the status of the server of a directory.  Changes and starts nothing."""
    require_posix()
    from awa_lib.embedded.supervisor import listener_pid

    layout = layout_of(url_or_path)
    with translating(layout):
        pid = listener_pid(layout.socket)
        try:
            major = data_major(layout)
            found = str(major) if major else None
        except EmbeddedError:
            found = "unknown"
        version = _facts(layout).get("version") if pid else None
        return ServerStatus(
            running=pid is not None,
            pid=pid,
            version=version or found,
            data_dir=layout.root,
            url=layout.url(),
            size_bytes=_size(layout.cluster),
            kept=layout.keep.exists(),
            in_use=locks.is_held(layout.clients_lock, shared=True),
        )


def stop(url_or_path: str | os.PathLike[str]) -> bool:
    """Stop the server, even with clients; return False when none was running.

    Ends ``keep_alive``.  The next ``acquire`` starts the server again.  Raises EmbeddedError.
    """
    require_posix()
    layout = layout_of(url_or_path)
    with translating(layout):
        if not layout.marker.exists():
            return False
        with locks.hold(layout.start_lock, seconds=_LOCK_SECONDS):
            return _stop(layout)


def reset(url_or_path: str | os.PathLike[str]) -> bool:
    """Stop the server and delete all its data; return False when there was none.

    Deletes only what awa created: a directory that existed before stays, and so does a directory
    with other files in it.  Raises EmbeddedError.
    """
    require_posix()
    layout = layout_of(url_or_path)
    with translating(layout):
        if not layout.marker.exists():
            return False
        with locks.hold(layout.start_lock, seconds=_LOCK_SECONDS):
            _stop(layout)
            _delete(layout)
    return True


def _delete(layout: Layout) -> None:
    try:
        created = json.loads(layout.marker.read_text()).get("created_directory")
    except ValueError:
        # Truncated by a full disk.
        created = False
    for path in (*layout.root.glob("pg.new-*"), *layout.ours):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if created and not any(layout.root.iterdir()):
        layout.root.rmdir()


def _stop(layout: Layout) -> bool:
    from awa_lib.embedded.supervisor import clear_leftovers, listener_pid

    layout.keep.unlink(missing_ok=True)
    if locks.is_held(layout.supervisor_lock):
        _end_supervisor(layout)
    else:
        orphan = listener_pid(layout.socket)
        if orphan is None:
            refuse_other_server(layout)
            # Processes of a killed server; reset is about to delete their files.
            clear_leftovers(layout.cluster)
            return False
        if orphan == 0:
            raise _elsewhere(layout)
        os.kill(orphan, signal.SIGINT)
    until = time.monotonic() + _STOP_SECONDS
    while locks.is_held(layout.supervisor_lock) or listener_pid(layout.socket) is not None:
        if time.monotonic() > until:
            raise EmbeddedError(
                f"the embedded PostgreSQL in {str(layout.root)!r} did not stop",
                why=f"it was told to stop {_STOP_SECONDS:.0f} s ago",
                hint=f"see its log: {layout.log}",
            )
        time.sleep(_POLL_SECONDS)
    return True


def _end_supervisor(layout: Layout) -> None:
    """Signal the supervisor.  Its pid is valid while it holds the lock, and written just after."""
    until = time.monotonic() + _STOP_SECONDS
    while locks.is_held(layout.supervisor_lock) and time.monotonic() < until:
        text = layout.supervisor_lock.read_text().strip()
        if text.isdigit():
            if not is_supervisor(int(text), layout.root):
                raise _elsewhere(layout)
            with suppress(ProcessLookupError):
                os.kill(int(text), signal.SIGTERM)
            return
        time.sleep(_POLL_SECONDS)


def is_supervisor(pid: int, root: Path) -> bool:
    """Return whether a process is the supervisor of a directory, as far as the system tells.

    In another container the same pid is another process, while both see the same lock.
    """
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()
    return os.fsencode(json.dumps(str(root))) in command


def _elsewhere(layout: Layout) -> EmbeddedError:
    return EmbeddedError(
        f"the embedded PostgreSQL in {str(layout.root)!r} runs in another container",
        why="it is up, but its process is not visible here",
        hint="stop it there: awa dev down",
    )


def _facts(layout: Layout) -> dict[str, str]:
    try:
        facts: dict[str, str] = json.loads(layout.facts.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return facts


def _size(directory: Path) -> int:
    total = 0
    for where, _, files in os.walk(directory):
        for name in files:
            try:
                total += Path(where, name).lstat().st_size
            except FileNotFoundError:
                # The server creates and deletes files meanwhile.
                continue
    return total
