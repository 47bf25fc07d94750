"""Show what a job returned."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import One, app
from awa_cli.parser.options import Redact, Report, ReportFormat
from awa_cli.terminal.output import show_document, show_raw

Raw = Annotated[
    bool,
    typer.Option(
        "--raw", help="Print text as it is, without quotes; other values as JSON on one line."
    ),
]


@app.command(
    epilog="""
    awa job result 42
    awa job result 42 -o json | jq .expires_at
    url=$(awa job result 42 --raw)
    """
)
def result(
    ctx: typer.Context,
    job_id: One,
    *,
    raw: Raw = False,
    redact: Redact = None,
    output: Report = ReportFormat.table,
) -> None:
    """Print what the handler of a completed job returned, as JSON.

    Only kinds that are declared with result=True keep it.  With -o json the value comes with its
    size and the time until which it is kept.  Exits with status 1 if there is no result.
    """
    from awa_cli.redact import hidden
    from awa_lib.reads.job_results import ended_result

    with open_session(ctx) as db:
        found = hidden(db.run(ended_result(job_id)), redact)
    if output is ReportFormat.json:
        show_document(found)
    elif raw:
        show_raw(found.value)
    else:
        show_document(found.value)
