"""The checks of schedules and of what a publication needs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from psycopg import sql as names

from awa_lib._sql import sql
from awa_lib.doctor.finding import Finding, Severity, advise, identifier, literal, relation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_lib.doctor.facts import Fleet, Nameless, Scheduled
    from awa_lib.doctor.limits import Limits

__all__ = ["replica_identity", "schedules"]


def schedules(found: list[Scheduled], fleet: Fleet, limits: Limits) -> Iterator[Finding]:
    """Find schedules that do not fire: cannot, not yet, or should have."""
    leads = any(one.leader for one in fleet.live)
    for one in found:
        if one.ahead is not None:
            yield Finding(
                "schedules",
                Severity.warning,
                f"the schedule {one.name} does not fire for now",
                one.ahead,
                advise(sql.advice("restart_schedule"), name=literal(one.name)),
                one.name,
            )
        elif one.fault is not None:
            yield Finding(
                "schedules",
                Severity.note if one.paused else Severity.error,
                f"the schedule {one.name} cannot fire",
                one.fault,
                f"awa cron show {shlex.quote(one.name)}",
                one.name,
            )
        elif leads and one.late_seconds > limits.schedule_seconds:
            yield Finding(
                "schedules",
                Severity.error,
                f"the schedule {one.name} is {one.late_seconds / 60:.0f} min late",
                "its job cannot be enqueued, or somebody has its row locked; the leader's log says",
                f"awa cron trigger {shlex.quote(one.name)}",
                one.name,
            )


def replica_identity(found: list[Nameless]) -> Iterator[Finding]:
    """Find tables of which a publication refuses changes."""
    for table in found:
        how: names.Composable = names.SQL("FULL")
        if table.index is not None:
            how = names.SQL("USING INDEX {}").format(identifier(table.index))
        yield Finding(
            "replica-identity",
            Severity.error if table.published else Severity.warning,
            f"rows of the table {table.name} cannot be told apart by a publication",
            "it is published: every UPDATE and DELETE of it fails"
            if table.published
            else "in a publication of all tables every UPDATE and DELETE of it would fail",
            advise(sql.advice("replica_identity"), table=relation(table.name), how=how),
            table.name,
        )
