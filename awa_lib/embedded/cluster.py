"""Make the directory of an embedded server, and the data in it."""

from __future__ import annotations

import json
import os
import shlex
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
    "reset_command",
    "tail",
]

_TAIL_LINES: Final = 12
_TAIL_BYTES: Final = 16_384
_BUILTIN_LOCALE_SINCE: Final = 17


def make_directory(layout: Layout, account: Account) -> None:
    """Make the data directory, or see that an existing one is ours or empty.

    Changes nothing that it did not make.  Raises EmbeddedError.
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
            why=f"this process runs as {owner_name(os.geteuid())!r}, and an embedded server is "
            "one user's own",
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
    """Make a directory and its missing parents; say whether the last did not exist."""
    try:
        if not path.parent.exists():
            _make_path(path.parent, 0o755 if os.geteuid() == 0 else 0o700)
        path.mkdir()
    except FileExistsError:
        return False
    # Root's umask may be narrow, and the server's user has to pass.
    path.chmod(mode)
    return True


def _refuse_foreign(layout: Layout) -> None:
    ours = {path.name for path in layout.ours}
    foreign = sorted(path.name for path in layout.root.iterdir() if path.name not in ours)
    if foreign:
        whose = "PostgreSQL's own data" if "PG_VERSION" in foreign else "files of others"
        raise EmbeddedError(
            f"the directory {str(layout.root)!r} is not one of an embedded server",
            why=f"it holds {whose}: {', '.join(foreign[:3])}",
            hint="name an empty or a new directory: embedded:PATH",
        )


def make_sockets(layout: Layout, account: Account) -> None:
    """Make the directory of the socket, which only the server's user and root may enter.

    That is the whole of the access control.  The server trusts whoever reaches the socket, and
    would let any local user in as superuser otherwise.  For root the clients are root, who may
    enter every directory, and the server is another user, who owns this one.
    """
    sockets = layout.sockets
    if sockets.parent != layout.root:
        far = layout.far_sockets
        # In /tmp others may have made it before us: then it is theirs to open, so refuse.
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
            why="it is no directory, belongs to somebody else, or is open to others",
            hint=f"look at it, then remove it: ls -ld {path}",
        )


def data_major(layout: Layout) -> int | None:
    """Return the major version that made the data, or None where there is none yet.

    Raises EmbeddedError for data that lacks its beginning.
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
        why="it lacks the file PG_VERSION, or the file is empty: a copy that was cut off, or "
        "files that were deleted",
        hint=f"restore it from a copy, or start over: {reset_command(layout)}",
    )


def reset_command(layout: Layout) -> str:
    """Return the command that deletes this server's data."""
    return f"awa dev reset --data-dir {shlex.quote(str(layout.root))}"


def make_cluster(
    layout: Layout, account: Account, binaries: Binaries, settings: Mapping[str, str]
) -> None:
    """Run initdb beside and rename, so that an interrupted one leaves nothing behind."""
    for left in layout.root.glob("pg.new-*"):
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="pg.new-", dir=layout.root))
    try:
        if account.dropped:
            os.chown(fresh, account.uid, account.gid)
        _initdb(fresh, account, binaries, settings)
        # An empty directory of that name makes room.
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
        # Not the system's: the same order of text and the same upper case everywhere.
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        command += ["--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C"]
    if settings.get("fsync") == "off":
        command.append("--no-sync")
    done = _run(command, account.switch)
    if done.returncode != 0:
        raise EmbeddedError(
            f"initdb could not make a database in {str(cluster.parent)!r}",
            why=_last_words(done.stdout) or f"it ended with status {done.returncode}",
            hint="see what it says, make room or choose another directory: embedded:PATH",
        )


def make_database(layout: Layout, binaries: Binaries) -> None:
    """Make the database when it is not there, with PostgreSQL's own tools.

    They cost 20 ms; psycopg, which most attaching processes import anyway, costs 180.
    """
    to = ["-h", str(layout.sockets), "-p", str(PORT), "-U", SUPERUSER, "-w"]
    listed = _run([str(binaries.program("psql")), "-X", "-A", "-t", "-l", *to], {})
    if f"\n{DATABASE}|" not in f"\n{listed.stdout}":
        made = _run([str(binaries.program("createdb")), *to, "--", DATABASE], {})
        if made.returncode != 0:
            raise EmbeddedError(
                f"cannot make database {DATABASE!r} in {str(layout.root)!r}",
                why=_last_words(made.stdout),
                hint=f"see the server's log: {layout.log}",
            )
    layout.has_database.touch()


def tail(layout: Layout, since: int) -> str:
    """Return the last lines of the server's log, none of them before a place in it."""
    try:
        with layout.log.open("rb") as log:
            log.seek(max(since, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return _last_words(log.read().decode(errors="replace"))
    except FileNotFoundError:
        return ""


def _last_words(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])


def _run(command: list[str], switch: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - programs we found by their fixed names
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
