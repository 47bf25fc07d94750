"""Copy the wheel's PostgreSQL for a server user who cannot read the wheel.

Root's Python is often below a home directory that other users may not enter, and the server must
not run as root.  The mode of that directory is left alone; the 34 MB are copied, once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from awa_lib.embedded.locks import hold
from awa_lib.errors import EmbeddedError

if TYPE_CHECKING:
    from awa_lib.embedded.account import Account

__all__ = ["CACHE", "cached_copy"]

CACHE: Final = Path("/var/cache/awa")
_COPY_SECONDS: Final = 120.0
# "include" is only for building extensions.
_NEEDED: Final = ("bin", "lib", "share")


def _parts(source: Path) -> list[Path]:
    """Return the paths that an installation needs to run.

    A wheel keeps its libraries beside the package (Linux) or in it (macOS), and the programs find
    them by a path relative to their own.
    """
    package = source.parent
    libraries = (package.with_name(f"{package.name}.libs"), package / ".dylibs")
    return [*(source / name for name in _NEEDED), *(path for path in libraries if path.is_dir())]


def cached_copy(source: Path, version: str, account: Account, *, cache: Path = CACHE) -> Path:
    """Return the installation in a complete copy that every user may execute.

    The name of the copy holds a digest of all file names and sizes.  An existing copy is compared
    with the source before use, and replaced if it is incomplete.  Raises EmbeddedError.
    """
    digest = _digest(source)
    copy = cache / f"postgres-{version}-{digest}"
    inside = copy / source.relative_to(source.parents[1])
    try:
        _own(cache)
        obstacle = account.obstacle(cache)
        if obstacle is not None:
            raise EmbeddedError(
                f"the embedded PostgreSQL cannot be copied to {str(cache)!r}",
                why=f"its user {account.name!r} may not enter {str(obstacle)!r}",
                hint="install PostgreSQL with the system's package manager",
            )
        if _digest(inside) == digest:
            return inside
        with hold(cache / "copy.lock", seconds=_COPY_SECONDS):
            if _digest(inside) != digest:
                _copy(source, copy)
    except OSError as error:
        raise EmbeddedError(
            f"cannot copy PostgreSQL from {str(source)!r} to {str(copy)!r}",
            why=f"{error.strerror or error}; the copy is needed because user {account.name!r}, "
            "who runs the server for root, cannot read the original",
            hint="free disk space, make the directory writable, install PostgreSQL with the "
            "system's package manager, or run as an ordinary user",
        ) from error
    return inside


def _own(cache: Path) -> None:
    """Create the directory, or check that no other user can write programs into it."""
    try:
        cache.mkdir(parents=True)
        cache.chmod(0o755)
    except FileExistsError:
        found = cache.lstat()
        if (
            not stat.S_ISDIR(found.st_mode)
            or found.st_uid != os.geteuid()
            or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        ):
            raise EmbeddedError(
                f"{str(cache)!r} is not safe to keep programs in",
                why="it is not a directory, or users other than its owner may write to it",
                hint=f"check its owner and mode, then remove it: ls -ld {cache}",
            ) from None


def _copy(source: Path, copy: Path) -> None:
    """Copy into a temporary directory, make it readable for all, rename it; under the lock."""
    for left in copy.parent.glob(".copying-*"):
        # Left by a process that was killed: the lock is held, so no other process copies.
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=".copying-", dir=copy.parent))
    try:
        for part in _parts(source):
            place = fresh / part.relative_to(source.parents[1])
            shutil.copytree(part, place, symlinks=True)
        for directory, _, files in os.walk(fresh):
            Path(directory).chmod(0o755)
            for name in files:
                path = Path(directory, name)
                if not path.is_symlink():
                    executable = path.stat().st_mode & stat.S_IXUSR
                    path.chmod(0o755 if executable else 0o644)
        if copy.exists():
            shutil.rmtree(copy)
        fresh.rename(copy)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _digest(source: Path) -> str:
    """Return a digest of the file names and sizes of an installation (1,000 files: 10 ms)."""
    seen = []
    for part in _parts(source):
        for directory, _, files in os.walk(part):
            for file in files:
                path = Path(directory, file)
                seen.append(f"{path.relative_to(source.parents[1])} {path.lstat().st_size}")
    return hashlib.blake2b("\n".join(sorted(seen)).encode(), digest_size=6).hexdigest()
