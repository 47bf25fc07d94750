"""What the checks are made from: rows as the database gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = [
    "Batch", "Clock", "Declared", "Failing", "Fleet", "Held", "Holder", "Ids", "IndexSize",
    "Nameless", "Pin", "Role", "RoleRights", "Scheduled", "Server", "Storage", "Stuck", "Table",
    "Waiting",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Server:
    """The server's settings and who asks."""

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
    """How well a table is kept.  ``rows`` is -1 before the first vacuum."""

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
class Nameless:
    """A table that does not say which row was changed; ``index`` could."""

    name: str
    index: str | None
    published: bool


@dataclass(frozen=True, slots=True)
class Scheduled:
    """How a schedule stands: why it cannot fire, or not yet, and how late it is."""

    name: str
    paused: bool
    fault: str | None
    ahead: str | None
    late_seconds: float


@dataclass(frozen=True, slots=True)
class IndexSize:
    """What an index takes."""

    name: str
    table_name: str
    bytes: int
    entries: float


@dataclass(frozen=True, slots=True)
class Pin:
    """What keeps dead rows from being removed; ``kind`` as in the statement."""

    kind: str
    name: str
    pid: int | None
    seconds: float | None
    xids: int | None
    what: str | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """So many jobs, at most 10,000, and the first ids."""

    jobs: int
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queue and a kind with jobs, at most 1,000, that could have run for ``seconds``."""

    queue: str
    kind: str
    jobs: int
    seconds: float
    paused: bool


@dataclass(frozen=True, slots=True)
class Failing:
    """A kind whose newest attempts failed, with the first line of the most frequent error."""

    kind: str
    attempts: int
    failed: int
    error: str | None


@dataclass(frozen=True, slots=True)
class Holder:
    """The session that holds the leader's lock."""

    pid: int
    role: str | None
    application: str
    idle_seconds: float | None


@dataclass(frozen=True, slots=True)
class Declared:
    """A queue or kind that live workers declare; ``drift`` when they do not agree."""

    name: str
    drift: bool


@dataclass(frozen=True, slots=True)
class Fleet:
    """The live workers, who holds their lock, and what they declare."""

    live: list[RuntimeInstance]
    lock: list[Holder]
    queues: list[Declared]
    kinds: list[Declared]


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds this machine is ahead of the server, give or take, and workers that are ahead."""

    ahead: float
    give_or_take: float
    workers: list[tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids of jobs."""

    last: int
    most: int


@dataclass(frozen=True, slots=True)
class Batch:
    """A bulk operation that is open for long or has failed."""

    id: str
    operation: str
    state: str
    processed: int
    total_matched: int
    last_error: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Storage:
    """The record of a move to another storage engine."""

    current_engine: str
    prepared_engine: str | None
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Role:
    """A role that matters here.

    ``owner`` is the role that owns the schema, ``owns`` tells that it is this one, ``own`` that
    the doctor is this one, and ``works`` that workers are.
    """

    role: str
    superuser: bool
    owner: str
    owns: bool
    own: bool
    works: bool

    @property
    def purpose(self) -> str | None:
        """Return what this role is measured by: its name as `awa roles` gives it, or its use."""
        for purpose in ("runtime", "producer", "readonly"):
            if self.role == self.owner.removesuffix("owner") + purpose:
                return purpose
        return "runtime" if self.works else "readonly" if self.own else None


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A right that a role lacks or has; ``kind`` and ``privilege`` as in ``schema.roles``."""

    role: str
    kind: str
    object: str
    privilege: str
    column_name: str


@dataclass(frozen=True, slots=True)
class RoleRights:
    """The roles that matter, what they lack of their purpose, and what was granted to them."""

    roles: list[Role]
    missing: list[Held]
    held: list[Held]
