"""``awa storage``: the record of a transition to another storage engine."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.invocation import common
from awa_cli.parser.options import ReportFormat
from awa_cli.terminal.output import show_document, show_text

if TYPE_CHECKING:
    from awa_lib.reads.storage import StorageReport

__all__ = ["app"]

app = typer.Typer(
    help="Show and change the record of a storage transition.",
    epilog="awa storage status",
)

Report = Annotated[
    ReportFormat | None,
    typer.Option(
        "--output",
        "-o",
        help="Output format: table or json; by default table at a terminal, and json in a pipe.",
        metavar="FORMAT",
    ),
]


@app.command(
    epilog="""
    awa storage status
    awa storage status | jq -r '.state'
    """
)
def status(ctx: typer.Context, *, output: Report = None) -> None:
    """Show the state of the transition and what blocks its next steps."""
    from awa_lib.reads.storage import storage_report

    with open_session(ctx) as db:
        _show(ctx, db.run(storage_report()), output)


@app.command(epilog='awa storage prepare --engine queue_storage --details \'{"schema": "awa"}\'')
def prepare(
    ctx: typer.Context,
    *,
    engine: Annotated[str, typer.Option(metavar="NAME", help="Name of the engine.")],
    details: Annotated[
        str, typer.Option(metavar="JSON", help="JSON object to store with the record.")
    ] = "{}",
    output: Report = None,
) -> None:
    """Prepare a transition to another storage engine, and print the status.

    Only the record changes; jobs run as before.
    """
    from awa_cli.filters.values import read_object
    from awa_lib.ops.storage import prepare as prepare_storage
    from awa_lib.reads.storage import storage_report

    extra = read_object(details, "--details")
    with open_session(ctx, changing=True) as db:
        db.change("storage.prepare", engine, prepare_storage(engine, extra))
        _show(ctx, db.run(storage_report()), output)


@app.command(epilog="awa storage abort")
def abort(ctx: typer.Context, *, output: Report = None) -> None:
    """Cancel a prepared transition, and print the status.

    Does nothing if no transition is prepared.
    """
    from awa_lib.ops.storage import abort as abort_storage
    from awa_lib.reads.storage import storage_report

    with open_session(ctx, changing=True) as db:
        db.change("storage.abort", "storage", abort_storage())
        _show(ctx, db.run(storage_report()), output)


def _show(ctx: typer.Context, report: StorageReport, output: ReportFormat | None) -> None:
    """Print the report; as JSON in a pipe, as awa 0.5 does."""
    if output is ReportFormat.json or (output is None and not sys.stdout.isatty()):
        show_document(report)
        return
    from awa_cli.terminal.pages.storage import storage_page

    width = shutil.get_terminal_size().columns
    show_text(storage_page(report, width=width, color=common(ctx).color()))
