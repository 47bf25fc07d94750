"""The group ``awa queue``, and the argument that names a queue."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.parser.completion import queues

__all__ = ["Name", "app"]

app = typer.Typer(
    help="List, show, pause, empty and configure queues.",
    epilog="""
    awa queue stats
    awa queue show email
    awa queue pause email
    awa queue set email --max-running 20
    """,
)

Name = Annotated[
    str, typer.Argument(metavar="QUEUE", help="Name of the queue.", autocompletion=queues)
]
