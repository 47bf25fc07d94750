"""The migration scripts of ``sql/migrations``, read without a database.

There are two tracks.  *canonical* leads to the layout of awa 0.5.7 and has its version numbers:
1-7, 9, 10, 11.  *toolkit* is our own and has its own ledger, which its script 0 creates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

from awa_lib._sql import folder

__all__ = [
    "RETIRABLE",
    "Migration",
    "current_migration_version",
    "load",
    "migrations",
    "migrations_range",
]

RETIRABLE: Final = {"dequeue-index": "idx_awa_jobs_hot_dequeue"}
"""Indexes that may be missing, by the names that commands know."""


Track = Literal["canonical", "toolkit"]

_CANONICAL: Final = re.compile(r"V(\d+)__(\w+)\.sql")
_TOOLKIT: Final = re.compile(r"(\d{4})_(\w+)\.sql")
_HEADER: Final = re.compile(r"^-- (summary|description|breaking|transaction): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration script.  ``path`` is relative to ``sql/migrations``."""

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
        """Return the file name of the extracted script; names sort in order of application."""
        if self.track == "canonical":
            return f"1_V{self.version:04}__{self.name}.sql"
        return f"{'2' if self.version else '0'}_{self.label}__{self.name}.sql"

    def statements(self) -> list[str]:
        """Split a script that runs outside a transaction; it contains no function bodies."""
        code = "\n".join(line for line in self.sql.splitlines() if not line.startswith("--"))
        return [part.strip() for part in code.split(";\n") if part.strip()]


@cache
def load() -> tuple[Migration, ...]:
    """Return every script in the order of an empty database.

    The ledger is first: a ledger beside an unfinished canonical track shows that we began it.
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
    """Return the canonical migrations after ``from_version`` up to ``to_version``."""
    return [
        (migration.version, migration.description, migration.sql)
        for migration in load()
        if migration.track == "canonical" and from_version < migration.version <= to_version
    ]


def current_migration_version() -> int:
    """Return the newest canonical version that this library knows."""
    return max(migration.version for migration in load() if migration.track == "canonical")
