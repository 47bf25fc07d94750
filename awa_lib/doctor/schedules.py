"""Check schedules and replica identities."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from psycopg import sql as names

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, identifier, literal, relation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Fleet, Scheduled, WithoutIdentity
    from awa_lib.doctor.limits import Limits

__all__ = ["replica_identity", "schedules"]


def schedules(found: list[Scheduled], fleet: Fleet, limits: Limits) -> Iterator[Finding]:
    """Find schedules that cannot fire, do not fire yet, or are late."""
    leads = any(worker.leader for worker in fleet.live)
    for schedule in found:
        if schedule.ahead is not None:
            yield Finding(
                "schedules",
                Severity.warning,
                f"the schedule {schedule.name} does not fire yet",
                schedule.ahead,
                advise(sql.advice("restart_schedule"), name=literal(schedule.name)),
                schedule.name,
            )
        elif schedule.fault is not None:
            yield Finding(
                "schedules",
                Severity.note if schedule.paused else Severity.error,
                f"the schedule {schedule.name} cannot fire",
                schedule.fault,
                f"awa cron show {shlex.quote(schedule.name)}",
                schedule.name,
            )
        elif leads and schedule.late_seconds > limits.schedule_seconds:
            yield Finding(
                "schedules",
                Severity.error,
                f"the schedule {schedule.name} is {schedule.late_seconds / 60:.0f} min late",
                "its job cannot be inserted, or its row is locked; the leader's log says which",
                f"awa cron trigger {shlex.quote(schedule.name)}",
                schedule.name,
            )


def replica_identity(found: list[WithoutIdentity]) -> Iterator[Finding]:
    """Find tables without a replica identity: a publication makes their changes fail."""
    for table in found:
        how: names.Composable = names.SQL("FULL")
        if table.index is not None:
            how = names.SQL("USING INDEX {}").format(identifier(table.index))
        yield Finding(
            "replica-identity",
            Severity.error if table.published else Severity.warning,
            f"the table {table.name} has no replica identity",
            "it is published, so every UPDATE and DELETE of it fails"
            if table.published
            else "in a publication of all tables every UPDATE and DELETE of it would fail",
            advise(sql.advice("replica_identity"), table=relation(table.name), how=how),
            table.name,
        )
