"""The paths and the URL of an embedded server."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from awa_lib.embedded.account import require_posix

__all__ = ["DATABASE", "PORT", "SUPERUSER", "Layout", "data_dir", "is_embedded", "layout_of"]

DATABASE: Final = "awa"
SUPERUSER: Final = "postgres"
PORT: Final = 5432
_SCHEME: Final = "embedded:"
# sun_path holds 107 bytes on Linux and 103 on macOS; ".lock" is appended to a file, not to this.
_SOCKET_PATH_BYTES: Final = 103


def is_embedded(url: str) -> bool:
    """Return whether a database URL names the embedded server."""
    return url.startswith(_SCHEME)


def data_dir(url: str) -> Path:
    """Return the absolute directory of ``embedded:`` (the default) or ``embedded:PATH``."""
    require_posix()
    rest = url.removeprefix(_SCHEME)
    rest = rest.removeprefix("//")
    if rest:
        return Path(rest).expanduser().resolve()
    if os.geteuid() == 0:
        # The server runs as another user, who may not enter root's home directory.
        return Path("/var/lib/awa/postgres")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "awa" / "postgres"
    # The XDG specification says to ignore a relative path.
    base = os.environ.get("XDG_DATA_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "share"
    return home / "awa" / "postgres"


def layout_of(url_or_path: str | os.PathLike[str]) -> Layout:
    """Return the layout of a URL or path."""
    return Layout(data_dir(os.fspath(url_or_path)))


@dataclass(frozen=True, slots=True)
class Layout:
    """The files below one data directory."""

    root: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.root / "pg"

    @property
    def log(self) -> Path:
        """The log of the server and its supervisor."""
        return self.root / "server.log"

    @property
    def marker(self) -> Path:
        """The proof that awa created this directory, or found it empty."""
        return self.root / "awa-embedded.json"

    @property
    def facts(self) -> Path:
        """The version and the programs of the last start."""
        return self.root / "server.json"

    @property
    def has_database(self) -> Path:
        """Exists when this run of the server is known to have its database."""
        return self.root / "database.ok"

    @property
    def keep(self) -> Path:
        """While it exists, the server stays up without clients."""
        return self.root / "keep"

    @property
    def start_lock(self) -> Path:
        """Held exclusively to start or stop the server."""
        return self.root / "start.lock"

    @property
    def clients_lock(self) -> Path:
        """Held in shared mode by every process that uses the server."""
        return self.root / "clients.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held exclusively by the supervisor while it lives; contains its pid."""
        return self.root / "supervisor.lock"

    @property
    def postmaster_pid(self) -> Path:
        """PostgreSQL's own pid file."""
        return self.cluster / "postmaster.pid"

    @property
    def sockets(self) -> Path:
        """The directory of the server's socket: in ``root`` if that path is short and plain."""
        inside = self.root / "s"
        text = os.fsencode(inside / f".s.PGSQL.{PORT}")
        # Both the server's setting and libpq's host are comma-separated lists.
        if len(text) <= _SOCKET_PATH_BYTES and not set(text) & set(b',"\n'):
            return inside
        name = hashlib.blake2b(os.fsencode(self.root), digest_size=6).hexdigest()
        return self.far_sockets / name

    @property
    def far_sockets(self) -> Path:
        """The private directory for sockets of directories whose name is too long.

        Not XDG_RUNTIME_DIR nor TMPDIR: every process must arrive at the same path.
        """
        uid = os.geteuid()
        return Path("/run/awa") if uid == 0 and Path("/run").is_dir() else Path(f"/tmp/awa-{uid}")  # noqa: S108 - checked before use

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.sockets / f".s.PGSQL.{PORT}"

    @property
    def ours(self) -> tuple[Path, ...]:
        """Every path awa may have created; the marker last, so that a reset can be repeated."""
        names = (self.cluster, self.sockets, self.log, self.root / "server.log.1", self.facts)
        locks = (self.clients_lock, self.supervisor_lock, self.start_lock)
        return (*names, self.has_database, self.keep, *locks, self.marker)

    def url(self, database: str = DATABASE) -> str:
        """Return a URL for libpq and psycopg; its port overrides PGPORT."""
        return f"postgresql://{SUPERUSER}@{quote(str(self.sockets), safe='')}:{PORT}/{database}"
