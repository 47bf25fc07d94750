"""Schedules: when each fires next, in words and counted down."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.content import Content

from awa_cli.tui.changes import cron as deeds
from awa_cli.tui.screens.detail_page import DetailedPage
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.columns import SCHEDULES
from awa_cli.views.cron import in_words
from awa_cli.views.words import age, clean, counted, now, span
from awa_lib.cron import CronExpression
from awa_lib.reads.cron import CronJob, list_cron_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.tui.changes.change import Deed
    from awa_lib._sql import Op

__all__ = ["CronPage"]

_FIRES: Final = 5
_SOON: Final = 60


def _next_style(one: CronJob) -> str:
    if one.next_fire_at is None:
        return "bright_black"
    return "bold cyan" if (one.next_fire_at - now()).total_seconds() < _SOON else ""


# A screen says it in words; the expression stands in the panel.
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "CRON": {"wide": True},
    "IN WORDS": {"wide": False, "width": 24},
    "TIMEZONE": {"wide": True},
    "NEXT": {"style": _next_style},
}
_COLUMNS: Final = tuple(replace(one, **_CHANGES.get(one.title, {})) for one in SCHEDULES)


class CronPage(DetailedPage[CronJob]):
    """One row a schedule; below it, its next fires."""

    COLUMNS = _COLUMNS
    EMPTY = "No schedules yet: a worker declares them, or awa cron apply."
    ACTIONS: ClassVar = {
        "trigger": "cron.trigger", "pause": "cron.pause", "remove": "cron.remove",
    }  # fmt: skip
    BINDINGS: ClassVar = [
        Binding("r", "trigger", "Trigger now", id="cron.trigger"),
        Binding("p", "pause", "Pause or resume", id="cron.pause"),
        Binding("d", "remove", "Remove", show=False, id="cron.remove"),
        Binding("e", "failed", "Its failures", id="cron.failed"),
    ]

    def query_op(self) -> Op[list[CronJob]]:
        """Read every schedule."""
        return list_cron_jobs()

    def key(self, row: CronJob) -> str:
        """Return the name."""
        return row.name

    def head(self, rows: list[CronJob]) -> Content:
        """Say which fires next."""
        due = [one for one in rows if one.next_fire_at is not None]
        paused = sum(one.paused_at is not None for one in rows)
        parts: list[Any] = [counted(len(rows), "schedule")]
        if paused:
            parts += [", ", (f"{paused} paused", "$text-warning")]
        if due:
            first = min(due, key=lambda one: one.next_fire_at or now())
            parts += [
                ("   next  ", "$quiet"), clean(first.name), " ",
                (age(first.next_fire_at) or "", "bold $text-accent"),
            ]  # fmt: skip
        return Content.assemble(*parts) if rows else Content("")

    def about(self, row: CronJob) -> Content:
        """Say what it enqueues, and its next fires by its own clock."""
        words = in_words(row.cron_expr)
        missed = row.missed_fire_policy
        if missed == "catch_up":
            missed = f"caught up, at most {row.catch_up_limit}"
        paused = f"{age(row.paused_at)} by {row.paused_by or 'somebody'}" if row.paused_at else None
        lines = facts([
            ("when", words if words != row.cron_expr else None),
            ("cron", f"{row.cron_expr}  {row.timezone}"),
            ("paused", paused),
            ("next", _fires(row)),
            ("last", row.last_enqueued_at or "none yet"),
            ("job", f"{row.kind} in queue {row.queue}, priority {row.priority}"),
            ("args", json.dumps(row.args, ensure_ascii=False) if row.args else None),
            ("missed", missed),
            ("jitter", f"up to {span(row.jitter_seconds)}" if row.jitter_seconds else None),
            ("declared", row.declared_at if row.declared else "by no live process"),
        ])  # fmt: skip
        return Content("\n").join([Content.styled(clean(row.name), "bold $text-accent"), lines])

    def opened(self, row: CronJob) -> None:
        """Go to the jobs it enqueued."""
        self._jobs(row, "")

    def action_failed(self) -> None:
        """Go to those of its jobs that failed."""
        if (row := self.grid.row) is not None:
            self._jobs(row, "state:failed ")

    def _jobs(self, row: CronJob, state: str) -> None:
        name = json.dumps(row.name, ensure_ascii=False)
        self.app.enter("jobs", filter=f"{state}metadata.cron_name={name}")

    def _do(self, make: Callable[[str], Deed]) -> None:
        if (row := self.grid.row) is not None:
            self.app.do(make(row.name))

    def action_trigger(self) -> None:
        """Enqueue its job now."""
        self._do(deeds.trigger)

    def action_pause(self) -> None:
        """Keep it from firing, or let it fire again."""
        if (row := self.grid.row) is not None:
            self._do(deeds.resume if row.paused_at else deeds.pause)

    def action_remove(self) -> None:
        """Remove it."""
        self._do(deeds.remove)


def _fires(row: CronJob) -> Content | list[Content]:
    if row.problem is not None:
        return Content.styled(clean(row.problem), "$text-error")
    expression = CronExpression.cached(row.cron_expr, row.timezone)
    if row.paused_at is not None:
        return Content.styled("not while it is paused", "$text-warning")
    today = now().astimezone(expression.zone).date()
    fires = []
    for moment in expression.upcoming(now(), _FIRES):
        local = moment.astimezone(expression.zone)
        year = "" if local.year == today.year else f"{local.year} "
        day = "" if local.date() == today else f"{local:%a %d %b} {year}"
        fires.append(Content.assemble(f"{day}{local:%H:%M:%S}", (f"  {age(moment)}", "$quiet")))
    return fires
