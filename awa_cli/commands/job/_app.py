"""The group ``awa job``, and the argument that names one job."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.parser.completion import job_ids
from awa_lib.validation import INT64_MAX

__all__ = ["One", "app"]

app = typer.Typer(
    help="List, show, follow, change and enqueue jobs.",
    epilog="""
    awa job list --state failed
    awa job show 42
    awa job retry 42
    awa job retry --state failed --kind send_email
    """,
)

One = Annotated[
    int, typer.Argument(metavar="ID", max=INT64_MAX, help="Id of the job.", autocompletion=job_ids)
]
