"""awa: a job queue in PostgreSQL, with blocking and async clients.

>>> import awa_lib as awa

The names in ``__all__`` are the public API.  A module with a leading underscore is not public: at
the root of the package (``awa_lib._sql``) it is shared inside this project, in a folder it is used
in that folder only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from awa_lib.callbacks.signatures import (
        sign_callback,
        sign_callback_request,
        verify_callback_signature,
    )
    from awa_lib.client.clients import AsyncClient, Client
    from awa_lib.client.raw import RawClient
    from awa_lib.client.transaction import AsyncTransaction as Transaction
    from awa_lib.client.transaction import Transaction as SyncTransaction
    from awa_lib.enqueue.kinds import Kinds, derive_kind
    from awa_lib.enqueue.options import NewJob
    from awa_lib.enqueue.unique import Unique
    from awa_lib.enqueue.workflows import Workflow
    from awa_lib.errors import (
        AccessDenied,
        AwaError,
        BulkOperationNotFound,
        CallbackNotFound,
        Conflict,
        DatabaseError,
        EmbeddedError,
        FailureNotFound,
        InvalidInput,
        InvalidTransition,
        JobFailed,
        JobNotFound,
        NoResult,
        NotFound,
        ResultError,
        ResultExpired,
        ResultNotStorable,
        ResultTooLarge,
        ScheduleNotFound,
        SchemaMismatch,
        SchemaNotMigrated,
        SchemaUnsupported,
        SerializationError,
        StaleAttempt,
        TerminalError,
        Transient,
        Unavailable,
        UniqueConflict,
        UnknownJobKind,
        ValidationError,
        WaitTimeout,
        WorkflowNotFound,
        WouldDeadlock,
    )
    from awa_lib.events import (
        Cancelled,
        Completed,
        Event,
        Exhausted,
        Failed,
        Rescued,
        Retried,
        Started,
        Waiting,
    )
    from awa_lib.models import (
        BulkOperation,
        DlqEntry,
        Job,
        JobState,
        ResolveResult,
    )
    from awa_lib.ops.bulk import BulkPreview
    from awa_lib.policies import QueuePolicy
    from awa_lib.reads.cron import CronJob
    from awa_lib.reads.job_logs import JobLog, LogRecord
    from awa_lib.reads.overviews import KindOverview, QueueOverview
    from awa_lib.reads.queues import QueueStat
    from awa_lib.results import (
        CallbackToken,
        Cancel,
        RetryAfter,
        Snooze,
        WaitForCallback,
    )
    from awa_lib.retries import exponential, fixed, linear
    from awa_lib.runtime.health import HealthCheck, QueueHealth
    from awa_lib.runtime.run import run
    from awa_lib.schema.scripts import (
        current_migration_version,
        migrations,
        migrations_range,
    )

__all__ = [
    "AccessDenied",
    "AsyncClient",
    "AwaError",
    "BulkOperation",
    "BulkOperationNotFound",
    "BulkPreview",
    "CallbackNotFound",
    "CallbackToken",
    "Cancel",
    "Cancelled",
    "Client",
    "Completed",
    "Conflict",
    "CronJob",
    "DatabaseError",
    "DlqEntry",
    "EmbeddedError",
    "Event",
    "Exhausted",
    "Failed",
    "FailureNotFound",
    "HealthCheck",
    "InvalidInput",
    "InvalidTransition",
    "Job",
    "JobFailed",
    "JobLog",
    "JobNotFound",
    "JobState",
    "KindOverview",
    "Kinds",
    "LogRecord",
    "NewJob",
    "NoResult",
    "NotFound",
    "QueueHealth",
    "QueueOverview",
    "QueuePolicy",
    "QueueStat",
    "RawClient",
    "Rescued",
    "ResolveResult",
    "ResultError",
    "ResultExpired",
    "ResultNotStorable",
    "ResultTooLarge",
    "Retried",
    "RetryAfter",
    "ScheduleNotFound",
    "SchemaMismatch",
    "SchemaNotMigrated",
    "SchemaUnsupported",
    "SerializationError",
    "Snooze",
    "StaleAttempt",
    "Started",
    "SyncTransaction",
    "TerminalError",
    "Transaction",
    "Transient",
    "Unavailable",
    "Unique",
    "UniqueConflict",
    "UnknownJobKind",
    "ValidationError",
    "WaitForCallback",
    "WaitTimeout",
    "Waiting",
    "Workflow",
    "WorkflowNotFound",
    "WouldDeadlock",
    "current_migration_version",
    "derive_kind",
    "exponential",
    "fixed",
    "linear",
    "migrate",
    "migrations",
    "migrations_range",
    "run",
    "sign_callback",
    "sign_callback_request",
    "verify_callback_signature",
]

# Names are loaded on first use: psycopg alone costs 177 ms, which `awa --help` does not need.
_HOMES: Final = {
    "awa_lib.client.clients": ("AsyncClient", "Client"),
    "awa_lib.enqueue.kinds": ("Kinds", "derive_kind"),
    "awa_lib.schema.scripts": ("current_migration_version", "migrations", "migrations_range"),
    "awa_lib.runtime.health": ("HealthCheck", "QueueHealth"),
    "awa_lib.models": ("BulkOperation", "DlqEntry", "Job", "JobState", "ResolveResult"),
    "awa_lib.results": (
        "CallbackToken",
        "Cancel",
        "RetryAfter",
        "Snooze",
        "WaitForCallback",
    ),
    "awa_lib.enqueue.options": ("NewJob",),
    "awa_lib.enqueue.unique": ("Unique",),
    "awa_lib.enqueue.workflows": ("Workflow",),
    "awa_lib.ops.bulk": ("BulkPreview",),
    "awa_lib.policies": ("QueuePolicy",),
    "awa_lib.client.raw": ("RawClient",),
    "awa_lib.reads.cron": ("CronJob",),
    "awa_lib.reads.job_logs": ("JobLog", "LogRecord"),
    "awa_lib.reads.overviews": ("KindOverview", "QueueOverview"),
    "awa_lib.reads.queues": ("QueueStat",),
    "awa_lib.events": (
        "Cancelled",
        "Completed",
        "Event",
        "Exhausted",
        "Failed",
        "Rescued",
        "Retried",
        "Started",
        "Waiting",
    ),
    "awa_lib.retries": ("exponential", "fixed", "linear"),
    "awa_lib.runtime.run": ("run",),
    "awa_lib.callbacks.signatures": (
        "sign_callback",
        "sign_callback_request",
        "verify_callback_signature",
    ),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in {"Transaction", "SyncTransaction"}:
        module = import_module("awa_lib.client.transaction")
        value = module.AsyncTransaction if name == "Transaction" else module.Transaction
    elif name in __all__:
        value = getattr(import_module(_HOME_OF.get(name, "awa_lib.errors")), name)
    else:
        raise AttributeError(f"module 'awa_lib' has no attribute {name!r}")
    globals()[name] = value
    return value


async def migrate(database_url: str) -> None:
    """Apply every pending migration; several processes may call it at the same time.

    Raises SchemaUnsupported, ValidationError for a bad URL, Unavailable, DatabaseError.
    """
    from awa_lib.client.clients import AsyncClient

    async with AsyncClient(database_url, 1) as client:
        await client.migrate()
