"""Results of commands that are not read models.  Scripts rely on their JSON form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - read by .ci/generate

__all__ = [
    "AppliedMigrations",
    "Changed",
    "ContextRow",
    "Depth",
    "Enqueued",
    "Entry",
    "Fire",
    "Health",
    "IndexChange",
    "Migration",
    "MigrationScript",
    "PendingMigrations",
    "RetriedTasks",
    "VersionCheck",
    "Versions",
]


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of the jobs that were named, or that fit a filter."""

    dry_run: bool
    """With --dry-run nothing was changed; ``changed`` is how many it would be."""
    changed: int
    skipped: int
    """Somebody else held or changed them meanwhile."""
    errored: int
    """Refused; why is on stderr."""
    ids: list[int]
    """The jobs that were named and changed; of a filter only with --dry-run, the first that fit."""
    batch_id: str | None
    """The bulk operation that carried a filter out: awa batch show."""


@dataclass(frozen=True, slots=True)
class RetriedTasks:
    """The tasks of a workflow that a retry runs again."""

    dry_run: bool
    """With --dry-run nothing was changed."""
    tasks: list[str]
    """Their names, in order; a member of a group has the name of the group and its place."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What ``--ndjson`` put into the queue, or ``--on-conflict skip`` did not."""

    enqueued: int
    skipped: int = 0
    """Jobs whose unique key is taken."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How many dead letters there are."""

    depth: int
    by_queue: dict[str, int]
    """Queues without any are left out, unless one was asked for."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a database is ready for jobs."""

    ready: bool
    reasons: list[str]
    """Why not, in sentences; empty when it is ready."""


@dataclass(frozen=True, slots=True)
class Versions:
    """What runs here."""

    awa: str
    python: str
    psycopg: str
    libpq: str
    schema: int
    """The newest version of the published layout that this program knows."""


@dataclass(frozen=True, slots=True)
class VersionCheck(Versions):
    """What runs here, and whether the database goes with it (``--check``)."""

    server: str
    database_schema: int
    """0 where there is no schema."""
    pending: list[str]
    """Labels of scripts to apply, like V7 or T0002."""
    fleet: list[str]
    """Versions of the live workers."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One script."""

    label: str
    """Like V7 or T0002."""
    track: str
    """``canonical`` is the published layout, ``toolkit`` what this program adds."""
    version: int
    description: str
    breaking: bool
    """Programs that do not know it cannot go on."""


@dataclass(frozen=True, slots=True)
class MigrationScript(Migration):
    """One script with its text (``--sql``)."""

    sql: str


@dataclass(frozen=True, slots=True)
class PendingMigrations:
    """What a database lacks (``--check``, ``--dry-run``)."""

    version: int
    """Of the published layout in this database; 0 without one."""
    current: bool
    pending: list[Migration]


@dataclass(frozen=True, slots=True)
class AppliedMigrations:
    """What was applied."""

    version: int
    applied: list[Migration]


@dataclass(frozen=True, slots=True)
class IndexChange:
    """What ``--retire`` or ``--restore`` did to an index."""

    index: str
    dry_run: bool
    """With --dry-run nothing was changed."""
    changed: bool
    """False if it was as it should be."""
    statements: list[str]
    """What was run, or with --dry-run would be."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list."""

    name: str
    kind: str
    scope: str


@dataclass(frozen=True, slots=True)
class ContextRow:
    """One context of the config file; ``database`` names where it leads without any secret."""

    name: str
    current: bool
    database: str
    password: str | None
    color: str | None
    protected: bool


@dataclass(frozen=True, slots=True)
class Fire:
    """One time a schedule fires: as its clock shows it, and in UTC."""

    local: str
    utc: datetime
