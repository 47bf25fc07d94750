"""The group ``awa workflow``."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.parser.completion import workflow_ids
from awa_lib.validation import INT64_MAX

__all__ = ["Id", "app"]

app = typer.Typer(
    help="List, show, cancel and retry workflows, and send them signals.",
    epilog="""
    awa workflow list --state open
    awa workflow show 7 --watch
    awa workflow signal 7 approved
    awa workflow retry 7
    """,
)

Id = Annotated[
    int,
    typer.Argument(
        metavar="ID", max=INT64_MAX, help="Id of the workflow.", autocompletion=workflow_ids
    ),
]
