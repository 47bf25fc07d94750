"""The operating-system user of the server: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import EmbeddedError

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import pwd

__all__ = ["Account", "clean_environment", "owner_name", "require_posix", "server_account"]

_CANDIDATES: Final = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class Account:
    """The user of the server process; ``dropped`` if this process runs as another user (root)."""

    name: str
    uid: int
    gid: int
    dropped: bool

    @property
    def switch(self) -> dict[str, Any]:
        """Return the arguments that make ``subprocess`` start a program as this user."""
        if not self.dropped:
            return {}
        # No supplementary groups, or the server would keep root's.
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def obstacle(self, path: Path) -> Path | None:
        """Return the first directory of ``path`` that this user may not enter, or None."""
        if not self.dropped:
            return None
        for directory in (*reversed(path.parents), path):
            if directory.exists() and not self._may(directory, stat.S_IXOTH):
                return directory
        return None

    def _may(self, path: Path, bits: int) -> bool:
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid == self.gid else 0
        return found.st_mode & (bits << shift) == bits << shift


def require_posix() -> None:
    """Refuse on Windows.  Raises EmbeddedError."""
    if os.name != "posix":
        raise EmbeddedError(
            "the embedded PostgreSQL does not run on Windows",
            why="it is shared through Unix file locks and sockets",
            hint="install PostgreSQL, or run under WSL, and pass --database-url postgresql://…",
        )


def server_account() -> Account:
    """Return the user of the server: this user, or for root an existing unprivileged user.

    Raises EmbeddedError when there is no such user.  Never creates a user.
    """
    uid = os.geteuid()
    if uid != 0:
        return Account(owner_name(uid), uid, os.getegid(), dropped=False)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid, dropped=True)
    raise EmbeddedError(
        "the embedded PostgreSQL cannot run as root",
        why="PostgreSQL refuses to, and neither the user 'postgres' nor 'nobody' exists",
        hint="run as an ordinary user, or pass --database-url postgresql://…",
    )


def owner_name(uid: int) -> str:
    """Return the name of a user id, or the number if it has no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def clean_environment() -> dict[str, str]:
    """Return the environment for the server and its tools.

    It has no PG* variable, which would redirect them.  TZ is set because initdb otherwise compares
    the system's time zone with every zone file (0.15 s).
    """
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return {**env, "TZ": "UTC", "LC_ALL": "C"}
