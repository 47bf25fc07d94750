"""Create the directory of an embedded server, and the data in it."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from awa_lib.embedded.account import clean_environment, owner_name
from awa_lib.embedded.layout import DATABASE, PORT, SUPERUSER
from awa_lib.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib.embedded.account import Account
    from awa_lib.embedded.binaries import Binaries
    from awa_lib.embedded.layout import Layout

__all__ = [
    "data_major",
    "make_cluster",
    "make_database",
    "make_directory",
    "make_sockets",
    "tail",
]

_TAIL_LINES: Final = 12
_TAIL_BYTES: Final = 16_384
_BUILTIN_LOCALE_SINCE: Final = 17


def make_directory(layout: Layout, account: Account) -> None:
    """Create the data directory, or check that an existing one is awa's or empty.

    Changes no file that it did not create.  Raises EmbeddedError.
    """
    created = _make_path(layout.root, 0o711 if account.dropped else 0o700)
    found = layout.root.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise EmbeddedError(
            f"{str(layout.root)!r} is not a directory",
            hint="name a directory: embedded:PATH",
        )
    if found.st_uid != os.geteuid():
        owner = owner_name(found.st_uid)
        raise EmbeddedError(
            f"the data directory {str(layout.root)!r} belongs to user {owner!r}",
            why=f"this process runs as {owner_name(os.geteuid())!r}, and an embedded server "
            "belongs to one user",
            hint=f"run as {owner!r}, or name another directory: embedded:PATH",
        )
    if not created and not layout.marker.exists():
        _refuse_foreign(layout)
    obstacle = account.obstacle(layout.root)
    if obstacle is not None:
        if created:
            layout.root.rmdir()
        raise EmbeddedError(
            f"the embedded PostgreSQL cannot reach {str(layout.root)!r}",
            why=f"PostgreSQL does not run as root, and its user {account.name!r} may not enter "
            f"{str(obstacle)!r}",
            hint="name a directory it can enter, for example embedded:/var/lib/awa/NAME, "
            "or run as an ordinary user",
        )
    if created or not layout.marker.exists():
        layout.marker.write_text(json.dumps({"created_directory": created}) + "\n")


def _make_path(path: Path, mode: int) -> bool:
    """Create a directory and its missing parents; return whether it did not exist."""
    try:
        if not path.parent.exists():
            _make_path(path.parent, 0o755 if os.geteuid() == 0 else 0o700)
        path.mkdir()
    except FileExistsError:
        return False
    # Root's umask may be strict, and the server's user must enter the directory.
    path.chmod(mode)
    return True


def _refuse_foreign(layout: Layout) -> None:
    ours = {path.name for path in layout.ours}
    foreign = sorted(path.name for path in layout.root.iterdir() if path.name not in ours)
    if foreign:
        whose = "data of another PostgreSQL" if "PG_VERSION" in foreign else "other files"
        raise EmbeddedError(
            f"the directory {str(layout.root)!r} does not belong to an embedded server",
            why=f"it holds {whose}: {', '.join(foreign[:3])}",
            hint="name an empty or a new directory: embedded:PATH",
        )


def make_sockets(layout: Layout, account: Account) -> None:
    """Create the directory of the socket, which only the server's user and root may enter.

    Its mode is the only access control: the server accepts every user who reaches the socket as
    superuser.  When root starts the server, the server's user owns the directory, and the clients
    run as root, who may enter every directory.
    """
    sockets = layout.sockets
    if sockets.parent != layout.root:
        far = layout.far_sockets
        # In /tmp another user may have created it before, and could open it later: refuse.
        _make_private(far, os.geteuid(), 0o711 if account.dropped else 0o700)
    _make_path(sockets, 0o700)
    if account.dropped and sockets.lstat().st_uid == os.geteuid():
        os.chown(sockets, account.uid, account.gid, follow_symlinks=False)
    _make_private(sockets, account.uid, 0o700)


def _make_private(path: Path, owner: int, mode: int) -> None:
    _make_path(path, mode)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o066:
        raise EmbeddedError(
            f"{str(path)!r} is not safe for the server's socket",
            why="it is not a directory, belongs to another user, or is open to others",
            hint=f"check its owner and mode, then remove it: ls -ld {path}",
        )


def data_major(layout: Layout) -> int | None:
    """Return the major version that made the data, or None without data.

    Raises EmbeddedError for data without a readable PG_VERSION.
    """
    try:
        return int((layout.cluster / "PG_VERSION").read_text().split(".")[0])
    except FileNotFoundError:
        if not layout.cluster.exists() or not any(layout.cluster.iterdir()):
            return None
    except ValueError:
        pass
    raise EmbeddedError(
        f"the data in {str(layout.cluster)!r} is damaged",
        why="its PG_VERSION is missing or empty: a copy was interrupted, or files were deleted",
        hint="restore it from a copy, or name another directory: embedded:PATH",
    )


def make_cluster(
    layout: Layout, account: Account, binaries: Binaries, settings: Mapping[str, str]
) -> None:
    """Run initdb in a temporary directory and rename it: an interrupted run leaves no data."""
    for left in layout.root.glob("pg.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="pg.new-", dir=layout.root))
    try:
        if account.dropped:
            os.chown(fresh, account.uid, account.gid)
        _initdb(fresh, account, binaries, settings)
        # The rename replaces an empty directory of that name.
        fresh.rename(layout.cluster)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _initdb(
    cluster: Path, account: Account, binaries: Binaries, settings: Mapping[str, str]
) -> None:
    command = [str(binaries.program("initdb")), "-D", str(cluster), "-U", SUPERUSER, "-E", "UTF8"]
    command += ["--auth-local=trust", "--auth-host=reject"]
    if binaries.major >= _BUILTIN_LOCALE_SINCE:
        # Not the system's locale: text sorts and changes case the same way everywhere.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        command += ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    if settings.get("fsync") == "off":
        command.append("--no-sync")
    done = _run(command, account.switch)
    if done.returncode != 0:
        raise EmbeddedError(
            f"initdb could not create the data in {str(cluster.parent)!r}",
            why=_last_words(done.stdout) or f"it ended with status {done.returncode}",
            hint="free disk space, or name another directory: embedded:PATH",
        )


def make_database(layout: Layout, binaries: Binaries) -> None:
    """Create the database if it does not exist, with PostgreSQL's own tools.

    They take 20 ms; importing psycopg takes 180 ms.
    """
    to = ["-h", str(layout.sockets), "-p", str(PORT), "-U", SUPERUSER, "-w"]
    listed = _run([str(binaries.program("psql")), "-X", "-A", "-t", "-l", *to], {})
    if f"\n{DATABASE}|" not in f"\n{listed.stdout}":
        made = _run([str(binaries.program("createdb")), *to, "--", DATABASE], {})
        if made.returncode != 0:
            raise EmbeddedError(
                f"cannot create the database {DATABASE!r} in {str(layout.root)!r}",
                why=_last_words(made.stdout),
                hint=f"see the server's log: {layout.log}",
            )
    layout.has_database.touch()


def tail(layout: Layout, since: int) -> str:
    """Return the last lines of the server's log after an offset."""
    try:
        with layout.log.open("rb") as log:
            log.seek(max(since, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return _last_words(log.read().decode(errors="replace"))
    except FileNotFoundError:
        return ""


def _last_words(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])


def _run(command: list[str], switch: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - programs found by their fixed names
        command,
        env=clean_environment(),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        **switch,
    )
