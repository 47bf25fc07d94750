"""One schedule."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from awa_cli.terminal.output import age, clean, span
from awa_cli.terminal.pages._layout import INDENT, Paint, fact_lines, json_lines
from awa_cli.views.cron import in_words

if TYPE_CHECKING:
    from awa_lib.reads.cron import CronJob

__all__ = ["schedule_facts", "schedule_page"]


def schedule_page(one: CronJob, *, color: bool) -> str:
    """Return what an operator wants to know of a schedule, with its next fires."""
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
    """Return after which time a schedule fires next."""
    from awa_lib.cron import begin

    now = datetime.now(UTC)
    return now if one.problem is None else max(now, begin(one))


def schedule_facts(one: CronJob) -> list[tuple[str, Any]]:
    """Return what is known of a schedule; a value that is None is not."""
    missed = one.missed_fire_policy
    if missed == "catch_up":
        missed = f"caught up, at most {one.catch_up_limit}"
    words = in_words(one.cron_expr)
    return [
        ("cron", f"{one.cron_expr}  {one.timezone}"),
        ("in words", None if words == one.cron_expr else words),
        ("kind", one.kind),
        ("queue", one.queue),
        ("priority", one.priority),
        ("attempts", one.max_attempts),
        ("tags", ", ".join(one.tags) or None),
        ("missed", missed),
        ("jitter", f"up to {span(one.jitter_seconds)}" if one.jitter_seconds else None),
        ("last fire", one.last_enqueued_at or "none yet"),
        ("paused", one.paused_at),
        ("paused by", one.paused_by),
        ("declared", one.declared_at if one.declared else "by no live process"),
    ]
