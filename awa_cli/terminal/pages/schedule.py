"""The page of a schedule."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from awa_cli.terminal.colors import Paint
from awa_cli.terminal.pages._layout import INDENT, fact_lines, json_lines
from awa_cli.views.facts import schedule_facts
from awa_cli.views.words import age, clean, now

if TYPE_CHECKING:
    from datetime import datetime

    from awa_lib.reads.cron import CronJob

__all__ = ["schedule_page"]


def schedule_page(one: CronJob, *, color: bool) -> str:
    """Return the page of a schedule, with its next runs."""
    from awa_lib.cron import CronExpression

    paint = Paint(color=color)
    paused = one.paused_at is not None
    state = paint("paused", "bold yellow") if paused else paint("on", "green")
    lines = [
        f"{paint(f'Schedule {clean(one.name)}', 'bold')}  {state}",
        "",
        *fact_lines(schedule_facts(one), paint),
    ]
    lines += ["", paint("Next fires", "bold")]
    if one.problem is not None:
        lines.append(INDENT + paint(clean(one.problem), "red"))
    if one.problem is None or one.next_fire_at is not None:
        expression = CronExpression(one.cron_expr, one.timezone)
        for moment in expression.upcoming(_begin(one), 5):
            local = moment.astimezone(expression.zone).isoformat()
            lines.append(f"{INDENT}{local}  {paint(age(moment) or '', 'dim')}")
    lines += ["", paint("Args", "bold"), *json_lines(one.args)]
    name = shlex.quote(clean(one.name))
    actions = [f"awa cron trigger {name}", f"awa cron {'resume' if paused else 'pause'} {name}"]
    lines += ["", paint("What can be done", "bold"), *[INDENT + line for line in actions]]
    return "\n".join(lines) + "\n"


def _begin(one: CronJob) -> datetime:
    """Return the time after which the next run is computed."""
    from awa_lib.cron import begin

    return now() if one.problem is None else max(now(), begin(one))
