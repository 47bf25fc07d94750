"""The migration scripts of ``sql/migrations``, read without a database.

Two tracks.  *canonical* arrives at the layout of awa 0.5.7 and numbers its scripts as published
(1-7, 9, 10, 11).  *toolkit* is our own, recorded in a ledger of its own; its script 0 is that
ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from awa_lib._sql import folder

__all__ = ["Migration", "current_migration_version", "load", "migrations", "migrations_range"]

Track = Literal["canonical", "toolkit"]

_CANONICAL: Final = re.compile(r"V(\d+)__(\w+)\.sql")
_TOOLKIT: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_HEADER: Final = re.compile(r"^-- (summary|description|breaking|transaction): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One script.  ``path`` is relative to ``sql/migrations``."""

    track: Track
    version: int
    name: str
    description: str
    sql: str = field(repr=False)
    breaking: bool
    path: str
    transactional: bool = True

    @property
    def label(self) -> str:
        """Return ``V7`` or ``T0002``."""
        return f"V{self.version}" if self.track == "canonical" else f"T{self.version:04}"

    @property
    def file_name(self) -> str:
        """Return the name to extract the script under, the published one where there is one."""
        title = self.description if self.track == "canonical" else self.name
        return f"{self.label}__{title.replace(' ', '_')}.sql"

    def statements(self) -> list[str]:
        """Split a script that must run outside a transaction; it holds no function bodies."""
        code = "\n".join(line for line in self.sql.splitlines() if not line.startswith("--"))
        return [part.strip() for part in code.split(";\n") if part.strip()]


@cache
def load() -> tuple[Migration, ...]:
    """Return every script in the order in which an empty database takes them.

    The ledger is first: a ledger beside an unfinished canonical track says that we began it.
    """
    root = folder() / "migrations"
    canonical = [
        _read("canonical", match, file.read_text(encoding="utf-8"))
        for file in (root / "canonical").iterdir()
        if (match := _CANONICAL.fullmatch(file.name))
    ]
    toolkit = [
        _read("toolkit", match, file.read_text(encoding="utf-8"))
        for file in (root / "toolkit").iterdir()
        if (match := _TOOLKIT.fullmatch(file.name))
    ]
    canonical.sort(key=lambda migration: migration.version)
    toolkit.sort(key=lambda migration: migration.version)
    return (toolkit[0], *canonical, *toolkit[1:])


def _read(track: Track, match: re.Match[str], source: str) -> Migration:
    header: dict[str, str] = dict(_HEADER.findall(source.split("\n\n", 1)[0]))
    return Migration(
        track=track,
        version=int(match[1]),
        name=match[2],
        description=header.get("description", header["summary"]),
        sql=source,
        breaking=header["breaking"] == "yes",
        path=f"{track}/{match[0]}",
        transactional=header.get("transaction") != "no",
    )


def migrations() -> list[tuple[int, str, str]]:
    """Return ``(version, description, sql)`` of every canonical migration, in order."""
    return migrations_range(0, current_migration_version())


def migrations_range(from_version: int, to_version: int) -> list[tuple[int, str, str]]:
    """Return canonical migrations above ``from_version`` up to and with ``to_version``."""
    return [
        (migration.version, migration.description, migration.sql)
        for migration in load()
        if migration.track == "canonical" and from_version < migration.version <= to_version
    ]


def current_migration_version() -> int:
    """Return the newest canonical version this library knows."""
    return max(migration.version for migration in load() if migration.track == "canonical")
