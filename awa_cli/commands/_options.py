"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.parser.completion import queues

__all__ = ["BeforeId", "DryRun", "Everything", "Interval", "Limit", "ToQueue", "Watch"]

Limit = Annotated[int, typer.Option(metavar="N", min=0, help="List at most N.")]
BeforeId = Annotated[
    int | None, typer.Option(metavar="ID", min=0, help="Only entries with an id below ID.")
]
Everything = Annotated[
    bool, typer.Option("--all", help="Select everything that the command can change.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count the matches; change nothing.")]
Watch = Annotated[
    bool, typer.Option("--watch", "-w", help="Refresh the output until Ctrl-C is pressed.")
]
Interval = Annotated[str, typer.Option(metavar="DURATION", help="Time between two refreshes.")]
ToQueue = Annotated[
    str | None,
    typer.Option(metavar="QUEUE", help="Queue to move the jobs to.", autocompletion=queues),
]
