"""The room of ``awa cron``."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.complete import schedules

__all__ = ["Name", "app"]

app = typer.Typer(
    help="Look at schedules of periodic jobs, fire, pause, remove, export and apply them.",
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
