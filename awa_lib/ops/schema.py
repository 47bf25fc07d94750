"""Which migrations a database has, and whether this library works with them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Final

from awa_lib._sql import Op, Rows, sql
from awa_lib.errors import SchemaNotMigrated, SchemaUnsupported, ValidationError
from awa_lib.schema.scripts import Migration, current_migration_version, load

__all__ = [
    "SchemaStatus",
    "check",
    "move_to_utf8",
    "read_schema",
    "require_encoding",
    "require_known",
]

# awa 0.5.5 ends at version 10; earlier versions lack the functions that inserts call.
_OLDEST: Final = 10
_FIRST_OF_0_6: Final = 39


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """The versions of both tracks in a database, and pending migrations in order."""

    canonical: tuple[int, ...]
    toolkit: tuple[int, ...]
    pending: tuple[Migration, ...]
    again: tuple[int, ...] = ()
    """Toolkit versions that are applied and pending, because they must be applied again."""
    encoding: str = "UTF8"
    database: str = ""

    @property
    def version(self) -> int:
        """Return the newest canonical version, 0 for none."""
        return max(self.canonical, default=0)

    @property
    def made_by(self) -> str:
        """Return which release most likely made this version of the schema."""
        if 0 < self.version < _OLDEST and self.toolkit:
            return "an awa-toolkit that was asked to stop there"
        return _maker(self.version)

    @property
    def current(self) -> bool:
        """Return True when nothing is pending."""
        return not self.pending


def read_schema(target: int | None = None) -> Op[SchemaStatus]:
    """Read both ledgers and return what is pending up to canonical version ``target``.

    Raises: SchemaUnsupported when the schema is older than awa 0.5.5, newer than awa 0.5.7 or not
    of awa; ValidationError when no such target exists.
    """
    if target is None:
        target = current_migration_version()
    require_known(target)
    presence = (yield sql.schema("schema_presence"))[0]
    has_canonical, has_ledger, has_jobs, encoding, database = presence
    canonical: list[int] = []
    ledger: Rows = Rows()
    if has_canonical:
        canonical = [version for (version,) in (yield sql.schema("canonical_versions"))]
    if has_ledger:
        ledger = yield sql.schema("toolkit_versions")
    _refuse_foreign(canonical, has_ledger=has_ledger, has_jobs=has_jobs)
    _refuse_breaking(ledger)
    status = SchemaStatus(
        tuple(canonical),
        tuple(row[0] for row in ledger),
        (),
        tuple(row[0] for row in ledger if row[3]),
        _text(encoding),
        _text(database),
    )
    return replace(status, pending=_pending(status, target))


def _text(value: str | bytes) -> str:
    # By default a connection takes over the encoding SQL_ASCII and returns bytes.
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def require_known(version: int) -> None:
    """Refuse a canonical version number that no script reaches."""
    newest = current_migration_version()
    if not 1 <= version <= newest:
        raise ValidationError(f"Version {version} is out of range. Valid versions: 1..{newest}")


def check() -> Op[SchemaStatus]:
    """Read the schema as a worker does at start.

    Scripts that must be applied again do not stop a start: what they make exists.
    Raises: SchemaNotMigrated when anything else is pending, SchemaUnsupported as ``read_schema``
    and for a database without an encoding.
    """
    status = yield from read_schema()
    require_encoding(status)
    missing = [
        migration
        for migration in status.pending
        if migration.track == "canonical" or migration.version not in status.again
    ]
    if not missing:
        return status
    labels = ", ".join(migration.label for migration in missing)
    if not status.canonical:
        raise SchemaNotMigrated(
            "this database has no awa schema",
            why="no migration was applied to it",
            hint="apply them: awa migrate",
        )
    raise SchemaNotMigrated(
        f"the awa schema of this database is not up to date: {labels} pending",
        why=f"it is at version {status.version}, made by {status.made_by}",
        hint="apply them: awa migrate",
    )


def require_encoding(status: SchemaStatus) -> None:
    """Refuse a database without an encoding.  Raises SchemaUnsupported."""
    if status.encoding == "SQL_ASCII":
        raise SchemaUnsupported(
            f"the database {status.database!r} has the encoding SQL_ASCII, which is no encoding",
            why="it stores bytes without their encoding: other programs may misread them, and JSON "
            "with characters beyond ASCII is refused",
            hint=f"make a UTF8 database and move the data there: {move_to_utf8(status.database)}",
        )


def move_to_utf8(database: str) -> str:
    """Return the command that makes a UTF8 database."""
    return f"createdb --encoding=UTF8 --template=template0 {shlex.quote(database + '_utf8')}"


def _pending(status: SchemaStatus, target: int) -> tuple[Migration, ...]:
    canonical = [
        migration
        for migration in load()
        if migration.track == "canonical"
        and migration.version <= target
        and migration.version not in status.canonical
    ]
    complete = target == current_migration_version()
    # awa 0.5.5 that migrates a newer schema runs its scripts again from version 5 on and undoes
    # the toolkit's: when canonical rows are missing, the toolkit track is applied again.
    done = {0} & set(status.toolkit) if canonical else set(status.toolkit) - set(status.again)
    toolkit = [
        migration
        for migration in load()
        if migration.track == "toolkit" and migration.version not in done and complete
    ]
    ledger = [load()[0]] if 0 not in done and (canonical or toolkit) else []
    return (*ledger, *canonical, *(item for item in toolkit if item.version))


def _maker(version: int) -> str:
    if version >= _FIRST_OF_0_6:
        return "awa 0.6 or later"
    if version > current_migration_version():
        return "a release of awa after 0.5.7"
    if version == _OLDEST:
        return "awa 0.5.5"
    if version > _OLDEST:
        return "awa 0.5.6, 0.5.7 or awa-toolkit"
    return "a release of awa before 0.5.5"


def _refuse_foreign(canonical: list[int], *, has_ledger: bool, has_jobs: bool) -> None:
    known = [migration.version for migration in load() if migration.track == "canonical"]
    version = max(canonical, default=0)
    if version > known[-1]:
        raise SchemaUnsupported(
            f"schema version {version} was found, made by {_maker(version)}",
            why=f"awa-toolkit works with versions {_OLDEST} and {known[-1]} (awa 0.5.5 to 0.5.7)"
            " and does not touch newer ones",
            hint="use the awa release that made it, or give awa-toolkit a database of its own",
        )
    if canonical != known[: len(canonical)]:
        rows = ", ".join(map(str, canonical))
        raise SchemaUnsupported(
            f"no known release made the rows of awa.schema_version ({rows})",
            why="awa before 0.4 numbered its versions differently, or rows were edited by hand",
            hint="migrate it with awa 0.5.7 first (pip install awa-cli==0.5.7; awa migrate)",
        )
    if canonical and version < _OLDEST and not has_ledger:
        raise SchemaUnsupported(
            f"schema version {version} was found, made by {_maker(version)}",
            why=f"awa-toolkit works with versions {_OLDEST} and {known[-1]} (awa 0.5.5 to 0.5.7)",
            hint="migrate it with awa 0.5.7 first (pip install awa-cli==0.5.7; awa migrate)",
        )
    if has_jobs and not canonical:
        raise SchemaUnsupported(
            "the schema awa holds job tables but no version rows",
            why="it was not made by a migration, or awa.schema_version was emptied",
            hint="restore awa.schema_version, or give awa-toolkit a database of its own",
        )


def _refuse_breaking(ledger: Rows) -> None:
    known = {migration.version for migration in load() if migration.track == "toolkit"}
    for version, name, breaking, _again in ledger:
        if breaking and version not in known:
            raise SchemaUnsupported(
                f"migration T{version:04} ({name}) was found, made by a later awa-toolkit",
                why="programs that do not know it cannot work with the schema",
                hint="upgrade this program: pip install --upgrade awa-toolkit",
            )
