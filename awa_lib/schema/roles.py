"""The roles of a database with the least rights, said once.

``awa roles`` makes them, and the doctor compares with what it finds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LATER", "PURPOSES", "RIGHTS", "Right", "role_name"]

# In the order of the script; what each is for.
PURPOSES: Final = {
    "owner": "owns the schema, and nobody logs in as it",
    "migrator": "logs in for awa migrate, and acts as the owner",
    "runtime": "workers, dashboards and commands that change jobs",
    "producer": "applications that insert jobs, and can read none",
    "readonly": "people and monitors that look and change nothing",
}
_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*|")
_LONGEST: Final = 63 - max(map(len, PURPOSES))

_JOBS: Final = ("jobs", "jobs_hot", "scheduled_jobs")
_WRITTEN: Final = (
    *_JOBS,
    "admin_dirty_kinds",
    "admin_dirty_queues",
    "bulk_operations",
    "callback_signatures",
    "cron_jobs",
    "cron_settings",
    "dead_letters",
    "job_kind_catalog",
    "job_kind_descriptors",
    "job_queue_catalog",
    "job_unique_claims",
    "job_waits",
    "queue_descriptors",
    "queue_meta",
    "queue_policies",
    "queue_state_counts",
    "runtime_instances",
    "toolkit_counts",
)
# Entries of the audit log are added, and neither changed nor taken back.  The server fills the rest
# itself: when, as which user, from where.
_ADDED: Final = "audit_log"
_SAID: Final = ("actor", "via", "action", "target", "detail")
_LEDGERS: Final = ("schema_version", "storage_transition_state", "toolkit_migrations")
_GIVEN: Final = (
    "id",
    "kind",
    "queue",
    "args",
    "state",
    "priority",
    "max_attempts",
    "run_at",
    "metadata",
    "tags",
    "unique_key",
    "unique_states",
)
_CHANGES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")

# What the owner's later tables are granted with: rights of the runtime and of readers.
LATER: Final = {"runtime": _CHANGES, "readonly": ("SELECT",)}


@dataclass(frozen=True, slots=True)
class Right:
    """One privilege on one thing in the schema; ``column`` is empty but for rights on columns."""

    purpose: str
    kind: str
    """schema, table, column, sequence or function."""
    object: str
    privilege: str
    column: str = ""


# By name: none of them has a namesake.  Triggers ask for no right to call.
_CALLED: Final = {
    "runtime": (
        "active_storage_engine",
        "assert_writable_canonical_storage",
        "backoff_duration",
        "claim_limited",
        "claim_within_limits",
        "forget_audit",
        "insert_job_compat",
        "job_state_in_bitmask",
        "recompute_dirty_admin_metadata",
        "refresh_admin_metadata",
        "storage_status",
        "toolkit_recount",
        "toolkit_recount_if_due",
    ),
    "producer": ("active_storage_engine", "job_state_in_bitmask"),
    "readonly": ("active_storage_engine", "storage_status"),
}


def _rights(purpose: str) -> Iterator[Right]:
    yield Right(purpose, "schema", "awa", "USAGE")
    yield from _TABLES[purpose]()
    for privilege in _NUMBERS[purpose]:
        yield Right(purpose, "sequence", "jobs_id_seq", privilege)
    for function in _CALLED[purpose]:
        yield Right(purpose, "function", function, "EXECUTE")


def _runtime_tables() -> Iterator[Right]:
    for table in _WRITTEN:
        for privilege in _CHANGES:
            yield Right("runtime", "table", table, privilege)
    yield Right("runtime", "table", _ADDED, "SELECT")
    for table in _LEDGERS:
        yield Right("runtime", "table", table, "SELECT")
    yield from _entries("runtime")
    yield from _gate("runtime")


def _producer_tables() -> Iterator[Right]:
    # The trigger that keeps keys unique runs with the rights of whoever inserts.
    for privilege in ("SELECT", "INSERT"):
        yield Right("producer", "table", "job_unique_claims", privilege)
    yield Right("producer", "table", "storage_transition_state", "SELECT")
    yield from _entries("producer")  # of awa job enqueue
    # By column: an insert gives back the id alone, so nothing of others can be read.  Migrations
    # pass the rights on jobs_hot on to new tables, but not those on its columns.
    for table in ("jobs_hot", "scheduled_jobs"):
        yield Right("producer", "column", table, "SELECT", "id")
        for column in _GIVEN:
            yield Right("producer", "column", table, "INSERT", column)
    yield from _gate("producer")


def _reader_tables() -> Iterator[Right]:
    for table in sorted((*_WRITTEN, _ADDED, *_LEDGERS)):
        yield Right("readonly", "table", table, "SELECT")


def _entries(purpose: str) -> Iterator[Right]:
    for column in _SAID:
        yield Right(purpose, "column", _ADDED, "INSERT", column)


def _gate(purpose: str) -> Iterator[Right]:
    # COPY locks this row in share mode, which takes a right to update: of a column that can hold
    # one value only.
    yield Right(purpose, "column", "storage_transition_state", "UPDATE", "singleton")


_TABLES: Final = {
    "runtime": _runtime_tables,
    "producer": _producer_tables,
    "readonly": _reader_tables,
}
_NUMBERS: Final = {"runtime": ("USAGE", "SELECT"), "producer": ("USAGE",), "readonly": ("SELECT",)}

RIGHTS: Final = tuple(right for purpose in _TABLES for right in _rights(purpose))


def role_name(purpose: str, prefix: str) -> str:
    """Return the name of a role.  Raises ValidationError for a prefix that no name begins with."""
    if not _PREFIX.fullmatch(prefix) or len(prefix) > _LONGEST:
        raise ValidationError(
            f"the prefix {prefix!r} cannot begin the name of a role",
            why=f"it takes letters, digits, _ and -, no digit first, at most {_LONGEST} of them",
            hint="for example: awa roles --prefix app_",
        )
    return prefix + purpose
