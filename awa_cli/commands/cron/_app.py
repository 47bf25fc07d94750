"""The group ``awa cron``, and operations on one schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from awa_cli.parser.completion import schedules

if TYPE_CHECKING:
    from awa_cli.database.session import Session
    from awa_lib._sql import Op

__all__ = ["Name", "app", "run_named"]

R = TypeVar("R")

app = typer.Typer(
    help="List, trigger, pause, export and apply schedules of periodic jobs.",
    epilog="""
    awa cron list
    awa cron next '0 2 * * *' --tz Europe/Berlin
    awa cron trigger nightly
    awa cron export > schedules.yaml
    """,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the schedule.", autocompletion=schedules)
]


def run_named(db: Session, op: Op[R], command: str) -> R:
    """Run an op on one schedule; for an unknown name, suggest the nearest known name."""
    from awa_lib.errors import ScheduleNotFound
    from awa_lib.reads.names import schedule_names
    from awa_lib.validation import did_you_mean

    try:
        return db.run(op)
    except ScheduleNotFound as error:
        near = did_you_mean(error.name, db.run(schedule_names()), f"{command} ")
        error.hint = near or error.hint
        raise
