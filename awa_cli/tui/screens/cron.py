"""The list of schedules, with their next fires."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.content import Content

from awa_cli.tui.changes import cron as changes
from awa_cli.tui.screens.detail_page import DetailPage
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.columns import SCHEDULES
from awa_cli.views.cron import in_words
from awa_cli.views.words import age, clean, counted, now, span
from awa_lib.cron import CronExpression
from awa_lib.reads.cron import CronJob, list_cron_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.tui.changes.change import Change
    from awa_lib._sql import Op

__all__ = ["CronPage"]

_MAX_FIRES: Final = 5
_SOON_SECONDS: Final = 60


def _next_style(one: CronJob) -> str:
    if one.next_fire_at is None:
        return "bright_black"
    return "bold cyan" if (one.next_fire_at - now()).total_seconds() < _SOON_SECONDS else ""


# The list shows the expression in words; the panel shows it as it is.
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    "cron": {"wide": True},
    "in_words": {"wide": False, "width": 24},
    "timezone": {"wide": True},
    "next": {"style": _next_style},
}
_COLUMNS: Final = tuple(replace(one, **_CHANGES.get(one.key, {})) for one in SCHEDULES)


class CronPage(DetailPage[CronJob]):
    """A row for each schedule; the panel shows its next fires."""

    COLUMNS = _COLUMNS
    EMPTY = "No schedules yet.  A worker declares them, or: awa cron apply FILE"
    ACTIONS: ClassVar = {
        "trigger": "cron.trigger",
        "pause": "cron.pause",
        "remove": "cron.remove",
    }
    BINDINGS: ClassVar = [
        Binding("r", "trigger", "Trigger now", id="cron.trigger"),
        Binding("p", "pause", "Pause or resume", id="cron.pause"),
        Binding("d", "remove", "Remove", show=False, id="cron.remove"),
        Binding("e", "failed", "Show failed", id="cron.failed"),
    ]

    def query_op(self) -> Op[list[CronJob]]:
        """Read every schedule."""
        return list_cron_jobs()

    def key(self, row: CronJob) -> str:
        """Return the name."""
        return row.name

    def head(self, rows: list[CronJob]) -> Content:
        """Return the number of schedules, and which fires next."""
        due = [one for one in rows if one.next_fire_at is not None]
        paused = sum(one.paused_at is not None for one in rows)
        parts: list[Any] = [counted(len(rows), "schedule")]
        if paused:
            parts += [", ", (f"{paused} paused", "$text-warning")]
        if due:
            first = min(due, key=lambda one: one.next_fire_at or now())
            parts += [("   next  ", "$quiet"), clean(first.name), " "]
            parts += [(age(first.next_fire_at) or "", "bold $text-accent")]
        return Content.assemble(*parts) if rows else Content("")

    def about(self, row: CronJob) -> Content:
        """Show what it enqueues, and its next fires in its time zone."""
        words = in_words(row.cron_expr)
        missed = row.missed_fire_policy
        if missed == "catch_up":
            missed = f"catch up, at most {row.catch_up_limit}"
        paused = f"{age(row.paused_at)} by {row.paused_by or 'unknown'}" if row.paused_at else None
        lines = facts(
            [
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
            ]
        )
        return Content("\n").join([Content.styled(clean(row.name), "bold $text-accent"), lines])

    def opened(self, row: CronJob) -> None:
        """Show the jobs it enqueued."""
        self._jobs(row, "")

    def action_failed(self) -> None:
        """Show its failed jobs."""
        if (row := self.grid.row) is not None:
            self._jobs(row, "state:failed ")

    def _jobs(self, row: CronJob, state: str) -> None:
        name = json.dumps(row.name, ensure_ascii=False)
        self.app.enter("jobs", filter=f"{state}metadata.cron_name={name}")

    def _apply(self, make: Callable[[str], Change]) -> None:
        if (row := self.grid.row) is not None:
            self.app.apply(make(row.name))

    def action_trigger(self) -> None:
        """Enqueue its job now."""
        self._apply(changes.trigger)

    def action_pause(self) -> None:
        """Pause or resume it."""
        if (row := self.grid.row) is not None:
            self._apply(changes.resume if row.paused_at else changes.pause)

    def action_remove(self) -> None:
        """Remove it."""
        self._apply(changes.remove)


def _fires(row: CronJob) -> Content | list[Content]:
    if row.problem is not None:
        return Content.styled(clean(row.problem), "$text-error")
    expression = CronExpression.cached(row.cron_expr, row.timezone)
    if row.paused_at is not None:
        return Content.styled("none while it is paused", "$text-warning")
    today = now().astimezone(expression.zone).date()
    fires = []
    for moment in expression.upcoming(now(), _MAX_FIRES):
        local = moment.astimezone(expression.zone)
        year = "" if local.year == today.year else f"{local.year} "
        day = "" if local.date() == today else f"{local:%a %d %b} {year}"
        fires.append(Content.assemble(f"{day}{local:%H:%M:%S}", (f"  {age(moment)}", "$quiet")))
    return fires
