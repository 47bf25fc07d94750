"""Where an embedded server keeps its things, and how its URL is written."""

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
    """Say whether a database URL asks for the embedded server."""
    return url.startswith(_SCHEME)


def data_dir(url: str) -> Path:
    """Return the directory of ``embedded:`` (the platform's) or ``embedded:PATH``, absolute."""
    require_posix()
    rest = url.removeprefix(_SCHEME)
    rest = rest.removeprefix("//")
    if rest:
        return Path(rest).expanduser().resolve()
    if os.geteuid() == 0:
        # The server runs as another user, who may not enter root's home.
        return Path("/var/lib/awa/postgres")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "awa" / "postgres"
    # The specification says to ignore a relative XDG_DATA_HOME.
    base = os.environ.get("XDG_DATA_HOME", "")
    home = Path(base) if base.startswith("/") else Path.home() / ".local" / "share"
    return home / "awa" / "postgres"


def layout_of(url_or_path: str | os.PathLike[str]) -> Layout:
    """Return the layout of a directory given as URL or path."""
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
        """What the server and its supervisor say."""
        return self.root / "server.log"

    @property
    def marker(self) -> Path:
        """The proof that we made this directory, or were given it empty."""
        return self.root / "awa-embedded.json"

    @property
    def facts(self) -> Path:
        """Which binaries the last start used."""
        return self.root / "server.json"

    @property
    def has_database(self) -> Path:
        """Exists once this run of the server was seen to have its database."""
        return self.root / "database.ok"

    @property
    def keep(self) -> Path:
        """While it exists the server stays up without a client."""
        return self.root / "keep"

    @property
    def start_lock(self) -> Path:
        """Held exclusively to start or stop the server."""
        return self.root / "start.lock"

    @property
    def clients_lock(self) -> Path:
        """Held shared by every process that uses the server."""
        return self.root / "clients.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held exclusively by the supervisor as long as it lives; its pid is inside."""
        return self.root / "supervisor.lock"

    @property
    def postmaster_pid(self) -> Path:
        """PostgreSQL's own pid file."""
        return self.cluster / "postmaster.pid"

    @property
    def sockets(self) -> Path:
        """The directory of the server's socket: here when its path is short and plain enough."""
        inside = self.root / "s"
        text = os.fsencode(inside / f".s.PGSQL.{PORT}")
        # Both the server's setting and libpq's host are comma-separated lists.
        if len(text) <= _SOCKET_PATH_BYTES and not set(text) & set(b',"\n'):
            return inside
        name = hashlib.blake2b(os.fsencode(self.root), digest_size=6).hexdigest()
        return self.far_sockets / name

    @property
    def far_sockets(self) -> Path:
        """The private directory above the sockets of directories with too long a name.

        Not XDG_RUNTIME_DIR nor TMPDIR: every process must come to the same name.
        """
        uid = os.geteuid()
        return Path("/run/awa") if uid == 0 and Path("/run").is_dir() else Path(f"/tmp/awa-{uid}")  # noqa: S108 - checked before use

    @property
    def socket(self) -> Path:
        """The server's socket."""
        return self.sockets / f".s.PGSQL.{PORT}"

    @property
    def ours(self) -> tuple[Path, ...]:
        """Everything we may have made here, the marker last, so that a cut-off reset can go on."""
        names = (self.cluster, self.sockets, self.log, self.root / "server.log.1", self.facts)
        locks = (self.clients_lock, self.supervisor_lock, self.start_lock)
        return (*names, self.has_database, self.keep, *locks, self.marker)

    def url(self, database: str = DATABASE) -> str:
        """Return the URL libpq and psycopg accept; the port beats a PGPORT in the environment."""
        return f"postgresql://{SUPERUSER}@{quote(str(self.sockets), safe='')}:{PORT}/{database}"
