"""The roles of a database and their least privileges.

``awa roles`` creates them, and the doctor compares them with the database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LATER", "OF_COLUMNS", "PURPOSES", "RIGHTS", "Right", "role_name"]

# In the order of the script.
PURPOSES: Final = {
    "owner": "owns the schema; cannot log in",
    "migrator": "logs in for awa migrate and acts as the owner",
    "runtime": "workers, dashboards and commands that change jobs",
    "producer": "applications that insert jobs; cannot read jobs",
    "readonly": "people and monitors; can only read",
}
_PREFIX: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*|")
_LONGEST: Final = 63 - max(map(len, PURPOSES))

_JOBS: Final = ("jobs", "jobs_hot", "scheduled_jobs")
_WRITTEN: Final = (
    *_JOBS,
    "admin_dirty_kinds",
    "admin_dirty_queues",
    "answered_callbacks",
    "bulk_operations",
    "callback_signatures",
    "cron_jobs",
    "cron_settings",
    "dead_letters",
    "failures",
    "forgotten_workflows",
    "job_ends",
    "job_kind_catalog",
    "job_kind_descriptors",
    "job_logs",
    "job_queue_catalog",
    "job_results",
    "job_steps",
    "job_unique_claims",
    "job_waits",
    "queue_descriptors",
    "queue_meta",
    "queue_policies",
    "queue_state_counts",
    "runtime_instances",
    "toolkit_counts",
    "uncounted_ends",
    "worker_processes",
    "workflow_edges",
    "workflow_events",
    "workflow_extensions",
    "workflow_nodes",
    "workflows",
)
# Entries of the audit log are inserted, never updated or deleted.  The server fills in the other
# columns: the time, the user and the address.
_ADDED: Final = "audit_log"
_AUDIT_COLUMNS: Final = ("actor", "via", "action", "target", "detail")
_LEDGERS: Final = ("schema_version", "storage_transition_state", "toolkit_migrations")
_JOB_COLUMNS: Final = (
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
OF_COLUMNS: Final = ("audit_log_id_seq", "workflow_events_id_seq", "workflows_id_seq")
"""Sequences of identity columns: who inserts needs no privilege on them."""
# Of a producer: what an insert of a workflow writes, and what it reads back.
_WORKFLOW_COLUMNS: Final = {
    "workflows": (("name", "key", "nodes", "waiting", "started"), ("id", "name", "key")),
    "workflow_nodes": (
        (
            "workflow_id",
            "number",
            "type",
            "name",
            "group_number",
            "state",
            "rule",
            "on_parent_failure",
            "parents_open",
            "signals_open",
            "not_before",
            "wait_seconds",
            "job_id",
            "kind",
            "queue",
            "priority",
            "max_attempts",
            "args",
            "metadata",
            "tags",
        ),
        (),
    ),
    "workflow_edges": (("workflow_id", "parent", "child"), ()),
}
_CHANGES: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")

# The default privileges on tables that the owner creates later.
LATER: Final = {"runtime": _CHANGES, "readonly": ("SELECT",)}


@dataclass(frozen=True, slots=True)
class Right:
    """A privilege on an object of the schema; ``column`` is set for privileges on columns."""

    purpose: str
    kind: str
    """schema, table, column, sequence or function."""
    object: str
    privilege: str
    column: str = ""


# By name: none is overloaded.  Triggers need no privilege to call their function.
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
        "resolve_workflow",
        "storage_status",
        "toolkit_recount",
        "toolkit_recount_if_due",
    ),
    "producer": ("active_storage_engine", "job_state_in_bitmask", "resolve_workflow"),
    "readonly": ("active_storage_engine", "storage_status"),
}


def _rights(purpose: str) -> Iterator[Right]:
    yield Right(purpose, "schema", "awa", "USAGE")
    yield from _TABLES[purpose]()
    for privilege in _NUMBERS[purpose]:
        yield Right(purpose, "sequence", "jobs_id_seq", privilege)
    if purpose == "readonly":  # pg_dump reads every sequence
        for sequence in OF_COLUMNS:
            yield Right(purpose, "sequence", sequence, "SELECT")
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
    # The trigger that keeps keys unique runs with the privileges of the inserting role.
    for privilege in ("SELECT", "INSERT"):
        yield Right("producer", "table", "job_unique_claims", privilege)
    yield Right("producer", "table", "storage_transition_state", "SELECT")
    yield from _entries("producer")  # of awa job enqueue
    # By column: an insert returns the id only, so the jobs of others cannot be read.  Migrations
    # copy the privileges on jobs_hot to new tables, but not those on its columns.
    for table in ("jobs_hot", "scheduled_jobs"):
        yield Right("producer", "column", table, "SELECT", "id")
        for column in _JOB_COLUMNS:
            yield Right("producer", "column", table, "INSERT", column)
    for table, (inserted, read) in _WORKFLOW_COLUMNS.items():
        for column in inserted:
            yield Right("producer", "column", table, "INSERT", column)
        for column in read:
            yield Right("producer", "column", table, "SELECT", column)
    yield from _gate("producer")


def _reader_tables() -> Iterator[Right]:
    for table in sorted((*_WRITTEN, _ADDED, *_LEDGERS)):
        yield Right("readonly", "table", table, "SELECT")


def _entries(purpose: str) -> Iterator[Right]:
    for column in _AUDIT_COLUMNS:
        yield Right(purpose, "column", _ADDED, "INSERT", column)


def _gate(purpose: str) -> Iterator[Right]:
    # COPY locks this row in share mode, which needs UPDATE: on a column that can hold one value
    # only.
    yield Right(purpose, "column", "storage_transition_state", "UPDATE", "singleton")


_TABLES: Final = {
    "runtime": _runtime_tables,
    "producer": _producer_tables,
    "readonly": _reader_tables,
}
_NUMBERS: Final = {"runtime": ("USAGE", "SELECT"), "producer": ("USAGE",), "readonly": ("SELECT",)}

RIGHTS: Final = tuple(right for purpose in _TABLES for right in _rights(purpose))


def role_name(purpose: str, prefix: str) -> str:
    """Return the name of a role.  Raises ValidationError for a prefix that is not valid."""
    if not _PREFIX.fullmatch(prefix) or len(prefix) > _LONGEST:
        raise ValidationError(
            f"the prefix {prefix!r} cannot begin the name of a role",
            why=f"it takes letters, digits, _ and -, no digit first, at most {_LONGEST} of them",
            hint="for example: awa roles --prefix app_",
        )
    return prefix + purpose
