"""The facts that the checks judge: rows as the database returns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.reads.published import PublishedWorker
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = [
    "Clock",
    "Declared",
    "DequeueIndex",
    "Failing",
    "Fleet",
    "Holder",
    "Ids",
    "IndexSize",
    "OpenBulkOperation",
    "Owned",
    "Pin",
    "Role",
    "RoleRight",
    "RoleRights",
    "Scheduled",
    "Server",
    "Storage",
    "Stuck",
    "Subscription",
    "Table",
    "Waiting",
    "WaitingWorkflow",
    "WithoutIdentity",
]


@dataclass(frozen=True, slots=True)
class Server:
    """The server's settings, and the role of this session."""

    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    autovacuum: bool
    track_counts: bool
    standby: bool
    slots: int
    connections: int
    notify_usage: float
    database: str
    frozen_age: int
    role: str
    sees_all: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Size, dead rows and vacuum settings of a table; ``rows`` is -1 before the first vacuum."""

    name: str
    unlogged: bool
    rows: float
    dead: int
    changed: int
    bytes: int
    row_bytes: int | None
    readable: bool
    frozen_age: int
    autovacuum: bool
    threshold: float


@dataclass(frozen=True, slots=True)
class DequeueIndex:
    """Whether the dequeue index is there, the jobs it was written for, and who may need it."""

    there: bool
    inserted: int
    workers: list[PublishedWorker]


@dataclass(frozen=True, slots=True)
class WithoutIdentity:
    """A table without a replica identity; ``index`` is a unique index that could serve as it."""

    name: str
    index: str | None
    published: bool


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The state of a schedule: why it cannot fire, or not yet, and how late it is."""

    name: str
    paused: bool
    fault: str | None
    ahead: str | None
    late_seconds: float


@dataclass(frozen=True, slots=True)
class IndexSize:
    """The size of an index."""

    name: str
    table_name: str
    bytes: int
    entries: float


@dataclass(frozen=True, slots=True)
class Pin:
    """What prevents the removal of dead rows; ``kind`` as in the statement ``pins``."""

    kind: str
    name: str
    pid: int | None
    seconds: float | None
    xids: int | None
    what: str | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """The number of stuck jobs, at most 10,000, and the first ids."""

    jobs: int
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue and kind with available jobs, counted to 1,000; the oldest waits ``seconds``."""

    queue: str
    kind: str
    jobs: int
    seconds: float
    paused: bool


@dataclass(frozen=True, slots=True)
class Failing:
    """A kind with many failed attempts, and the first line of its most frequent error."""

    kind: str
    attempts: int
    failed: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Holder:
    """The session that holds the leader lock."""

    pid: int
    role: str | None
    application: str
    idle_seconds: float | None


@dataclass(frozen=True, slots=True)
class Declared:
    """A queue or kind that live workers declare; ``drift`` when their descriptors differ."""

    name: str
    drift: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers, the holder of the leader lock, and the declared queues and kinds."""

    now: datetime
    """By the clock of the server."""
    live: list[RuntimeInstance]
    silent: list[RuntimeInstance]
    """Those that fell silent lately."""
    lock: list[Holder]
    queues: list[Declared]
    kinds: list[Declared]


@dataclass(frozen=True, slots=True)
class Clock:
    """How far this machine is ahead of the server in seconds, and workers that are ahead."""

    ahead: float
    give_or_take: float
    workers: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Ids:
    """A sequence: its last id, the largest possible, and the highest in use, 0 without rows.

    ``last`` is None before the first id, and where the role may not read it.
    """

    sequence: str
    last: int | None
    largest: int
    highest: int
    readable: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """A subscription that writes tables of the schema."""

    name: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class Owned:
    """An object of the schema that belongs to an extension; ``object`` as in ``table awa.x``."""

    extension: str
    object: str


@dataclass(frozen=True, slots=True)
class OpenBulkOperation:
    """A bulk operation that has been open for long, or has failed."""

    id: str
    operation: str
    state: str
    processed: int
    total_matched: int
    last_error: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class WaitingWorkflow:
    """An open workflow in which no task has run for long."""

    id: int
    name: str
    blocked: int
    """Tasks that wait for the retry of a task that failed or was skipped."""
    signals: list[str]
    """The first signals that were not sent."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Storage:
    """The record of the storage transition."""

    current_engine: str
    prepared_engine: str | None
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Role:
    """A role that uses the schema.

    ``owner`` is the role that owns the schema; ``owns`` is True for that role itself.  ``own`` is
    True for the role of this session, ``works`` for a role of workers.
    """

    role: str
    superuser: bool
    owner: str
    owns: bool
    own: bool
    works: bool

    @property
    def purpose(self) -> str | None:
        """Return the purpose of the role: by its name from `awa roles`, else by its use."""
        for purpose in ("runtime", "producer", "readonly"):
            if self.role == self.owner.removesuffix("owner") + purpose:
                return purpose
        return "runtime" if self.works else "readonly" if self.own else None


@dataclass(frozen=True, slots=True, order=True)
class RoleRight:
    """A right that a role lacks or has; ``kind`` and ``privilege`` as in ``schema.roles``."""

    role: str
    kind: str
    object: str
    privilege: str
    column_name: str


@dataclass(frozen=True, slots=True)
class RoleRights:
    """The roles, the rights they lack for their purpose, and the rights granted to them."""

    roles: list[Role]
    missing: list[RoleRight]
    held: list[RoleRight]
