"""The JSON documents that commands print, on which scripts rely.

``.ci/generate`` makes the schemas in docs/reference/schemas/ from this table.  A test requires an
entry for each command that has ``-o json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["DOCUMENTS", "Document"]


@dataclass(frozen=True, slots=True)
class Document:
    """A document in one of several forms: ``module:Class``, or ``module:Class[]`` for a list.

    With ``lines`` each line is a document.
    """

    forms: tuple[str, ...]
    lines: bool = False


def _one(*forms: str) -> Document:
    return Document(forms)


def _many(model: str) -> Document:
    return Document((f"{model}[]",))


_JOB: Final = "awa_lib.reads.jobs:JobRow"
_DESCRIBED: Final = "awa_lib.reads.job_documents:DescribedJob"
_CHANGED: Final = "awa_cli.documents.reports:Changed"
_POLICY: Final = "awa_lib.policies:QueuePolicy"
_BATCH: Final = "awa_lib.models:BulkOperation"
_STORAGE: Final = "awa_lib.reads.storage:StorageReport"

DOCUMENTS: Final = {
    "job list": _many(_DESCRIBED),
    "job show": _one("awa_lib.reads.job_dumps:JobDump"),
    "job dump": _one("awa_lib.reads.job_dumps:JobDump"),
    "job dump-run": _one("awa_lib.reads.job_dumps:JobRun"),
    "job result": _one("awa_lib.reads.job_results:JobResult"),
    "job logs": _many("awa_lib.reads.job_logs:HistoryEntry"),
    "job wait": _many("awa_lib.ops.waits:JobStatus"),
    "job tail": Document(("awa_lib.reads.activity:Transition",), lines=True),
    "job retry": _one(_CHANGED),
    "job cancel": _one(_CHANGED),
    "job priority": _one(_CHANGED),
    "job move": _one(_CHANGED),
    "job discard": _one(_CHANGED),
    "job retry-failed": _one(_CHANGED),
    "job enqueue": _one(_JOB, "awa_cli.documents.reports:Enqueued"),
    "queue stats": _many("awa_lib.reads.queues:QueueStat"),
    "queue list": _many("awa_lib.reads.overviews:QueueOverview"),
    "queue show": _one("awa_lib.reads.overviews:QueueDetails"),
    "queue set": _one(_POLICY),
    "queue unset": _one(_POLICY),
    "kind list": _many("awa_lib.reads.overviews:KindOverview"),
    "kind show": _one("awa_lib.reads.overviews:KindOverview"),
    "cron list": _many("awa_lib.reads.cron:CronJob"),
    "cron show": _one("awa_lib.reads.cron:CronJob"),
    "cron next": _many("awa_cli.documents.reports:Fire"),
    "cron trigger": _one(_JOB),
    "cron apply": _many("awa_cli.commands.cron._schedule_files:Change"),
    "dlq list": _many("awa_lib.reads.dead_letters:DeadLetter"),
    "dlq show": _one("awa_lib.reads.dead_letters:DeadLetter"),
    "dlq retry": _one(_CHANGED),
    "dlq move": _one(_CHANGED),
    "dlq purge": _one(_CHANGED),
    "dlq depth": _one("awa_cli.documents.reports:Depth"),
    "failure list": _many("awa_lib.reads.failures:Failure"),
    "failure show": _one("awa_lib.reads.failures:FailureDetails"),
    "failure retry": _one(_CHANGED),
    "batch list": _many(_BATCH),
    "batch show": _one(_BATCH),
    "batch submit": _one(_BATCH),
    "batch run": _one(_BATCH),
    "workflow list": _many("awa_lib.reads.workflows:WorkflowOverview"),
    "workflow show": _one("awa_lib.reads.workflow_tasks:WorkflowDetails"),
    "workflow tasks": _many("awa_lib.reads.workflow_tasks:WorkflowTask"),
    "workflow retry": _one("awa_cli.documents.reports:RetriedTasks"),
    "audit": _many("awa_lib.reads.audit:AuditEntry"),
    "workers": _many("awa_lib.reads.runtime:RuntimeInstance"),
    "bench": _one("awa_cli.bench.report:BenchReport"),
    "demo": _one("awa_cli.demo.tables:Report"),
    "migrate": _one(
        "awa_cli.documents.reports:AppliedMigrations",
        "awa_cli.documents.reports:PendingMigrations",
        "awa_cli.documents.reports:MigrationScript[]",
        "awa_cli.documents.reports:IndexChange",
        "builtins:str[]",
    ),
    "storage status": _one(_STORAGE),
    "storage prepare": _one(_STORAGE),
    "storage abort": _one(_STORAGE),
    "access list": _many("awa_cli.documents.reports:Entry"),
    "doctor": _many("awa_lib.doctor:Finding"),
    "health": _one("awa_cli.documents.reports:Health"),
    "version": _one("awa_cli.documents.reports:Versions", "awa_cli.documents.reports:VersionCheck"),
    "dev status": _one("awa_lib.embedded.control:ServerStatus"),
    "context list": _many("awa_cli.documents.reports:ContextRow"),
    "context show": _one("awa_cli.documents.reports:ContextRow"),
}
