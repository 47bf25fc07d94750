"""Which operating-system user the server runs as: PostgreSQL refuses to be root."""

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
    """The user of the server process.  ``dropped`` when it is not the user of this process."""

    name: str
    uid: int
    gid: int
    dropped: bool

    @property
    def switch(self) -> dict[str, Any]:
        """Return the arguments that make ``subprocess`` start a program as this user."""
        if not self.dropped:
            return {}
        # No supplementary groups: root's would go along otherwise.
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def obstacle(self, path: Path) -> Path | None:
        """Return the first directory on the way into ``path`` that this user may not enter."""
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
            why="it is shared through file locks and sockets of Unix",
            hint="install PostgreSQL, or run under WSL, and pass --database-url postgresql://…",
        )


def server_account() -> Account:
    """Return who runs the server: this user, or for root an existing unprivileged one.

    Raises EmbeddedError when root has nobody to drop to.  No user is ever made.
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
        why="PostgreSQL refuses it, and there is no user 'postgres' or 'nobody' to run it as",
        hint="run as an ordinary user, or pass --database-url postgresql://…",
    )


def owner_name(uid: int) -> str:
    """Return the name of a user id, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def clean_environment() -> dict[str, str]:
    """Return what server and tools may see of the environment.

    Nothing of PG*, which would redirect them; TZ is given because initdb otherwise compares the
    system's zone with every zone file there is (0.15 s).
    """
    kept = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    return {**env, "TZ": "UTC", "LC_ALL": "C"}
