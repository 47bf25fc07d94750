"""The group ``awa job``, and the argument that names one job."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from awa_cli.parser.completion import job_ids

__all__ = ["LARGEST", "One", "app"]

app = typer.Typer(
    help="List, show, follow, change and enqueue jobs.",
    epilog="""
    awa job list --state failed
    awa job show 42
    awa job retry 42
    awa job retry --state failed --kind send_email
    """,
)

LARGEST: Final = 2**63 - 1
One = Annotated[
    int, typer.Argument(metavar="ID", max=LARGEST, help="Id of the job.", autocompletion=job_ids)
]
