"""Look at jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import One, app
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.job_options import (
    ErrorText,
    Kind,
    Queue,
    Since,
    States,
    Tag,
    Until,
    Where,
    hint_at,
    read_query,
)  # fmt: skip
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Redact, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import show_document, show_rows, show_text
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from awa_cli.database.session import Session
    from awa_lib.reads.jobs import JobQuery, JobRow

# Rows of one page of a stream.
_PAGE: Final = 1_000
BeforeId = Annotated[int | None, typer.Option(metavar="ID", help="Only jobs older than this one.")]
Sort = Annotated[
    str,
    typer.Option(
        metavar="FIELD",
        help="id, run_at, …; with - for the largest first.",
        autocompletion=completion.sorts,
    ),
]
Everything = Annotated[
    bool, typer.Option("--all", help="All of them; streamed unless it is a table.")
]


@app.command(
    "list",
    epilog="""
    awa job list --state failed --kind send_email
    awa job list --since 2h --where args.customer=42 --columns id,state,args.to
    awa job list --queue email --all -o ndjson | jq .id
    awa job list --state running --sort attempted_at
    """,
)
def list_(
    ctx: typer.Context,
    state: States = None,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    error: ErrorText = None,
    before_id: BeforeId = None,
    sort: Sort = "-id",
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.", min=0)] = 20,
    everything: Everything = False,
    columns: Columns = None,
    redact: Redact = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List jobs, newest first.

    WHEN is the time that matters: when it may run, began, ended, or times out waiting.
    """
    from awa_cli.redact import read_redactor
    from awa_cli.views.columns import JOBS
    from awa_lib.reads.job_documents import described_jobs

    query = read_query(
        states=state, kind=kind, queue=queue, tag=tag, since=since, until=until, where=where,
        error=error,
    )  # fmt: skip
    query["before_id"] = before_id
    redactor = read_redactor(redact)
    if redactor is not None:
        redactor.check_query(query)
    _check_order(sort, everything=everything, before_id=before_id)

    def footer(shown: Sequence[JobRow]) -> str:
        cut = len(shown) == limit and sort == "-id" and not everything
        more = f"  Older ones: --before-id {shown[-1].id}" if cut else ""
        failed = next((one.id for one in shown if one.state == "failed"), None)
        why = f"  Why one failed: awa job show {failed}" if failed is not None else ""
        return f"{counted(len(shown))} listed.{more}{why}"

    with open_session(ctx) as db:
        rows: Iterable[JobRow] = (
            _pages(db, query)
            if everything
            else db.run(described_jobs(sort=sort, limit=limit, **query))
        )
        if redactor is not None:
            rows = redactor.rows(rows)
        count = show_rows(
            rows, JOBS, output, common(ctx), empty="No jobs found.", footer=footer,
            chosen=read_columns(columns),
        )  # fmt: skip
        if not count:
            hint_at(db, query)
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


def _check_order(sort: str, *, everything: bool, before_id: int | None) -> None:
    from difflib import get_close_matches

    from awa_lib.errors import InvalidInput
    from awa_lib.reads.jobs import SORTS

    field = sort.removeprefix("-")
    if field not in SORTS:
        close = get_close_matches(field, SORTS, n=1)
        raise InvalidInput(
            f"jobs cannot be sorted by {field!r}",
            why=f"fields are {', '.join(SORTS)}",
            hint=f"did you mean: --sort {close[0]}" if close else None,
        )
    if sort != "-id" and (everything or before_id is not None):
        raise InvalidInput(
            "--sort goes with neither --all nor --before-id",
            why="pages follow each other by id, newest first",
            hint="leave --sort out, or give --limit",
        )


def _pages(db: Session, query: JobQuery) -> Iterator[JobRow]:
    from awa_lib.reads.job_documents import described_jobs

    while rows := db.run(described_jobs(limit=_PAGE, **query)):
        yield from rows
        query["before_id"] = rows[-1].id


@app.command(
    epilog="""
    awa job show 42
    awa job show 42 -o json | jq .summary
    """
)
def show(
    ctx: typer.Context, job_id: One, redact: Redact = None, output: Report = ReportFormat.table
) -> None:
    """Show a job as a page for people: what it is, how far, what happened, what can be done."""
    from awa_cli.redact import hidden
    from awa_cli.terminal.pages.job import job_page
    from awa_lib.reads.jobs import dump_job

    with open_session(ctx) as db:
        dump = hidden(db.run(dump_job(job_id)), redact)
    if output is ReportFormat.json:
        show_document(dump)
    else:
        show_text(job_page(dump, color=common(ctx).color()))


@app.command(epilog="awa job dump 42 | jq .timeline")
def dump(ctx: typer.Context, job_id: One, redact: Redact = None) -> None:
    """Print all that is known of a job as JSON: row, summary, timeline."""
    from awa_cli.redact import hidden
    from awa_lib.reads.jobs import dump_job

    with open_session(ctx) as db:
        show_document(hidden(db.run(dump_job(job_id)), redact))


@app.command(
    "dump-run",
    epilog="""
    awa job dump-run 42
    awa job dump-run 42 --attempt 1 | jq -r .error
    """,
)
def dump_run(
    ctx: typer.Context,
    job_id: One,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", help="Which attempt; the present one by default.")
    ] = None,
    redact: Redact = None,
) -> None:
    """Print one attempt of a job as JSON.

    An earlier attempt is known from the error it left; one that left none is not kept.
    """
    from awa_cli.redact import hidden
    from awa_lib.reads.jobs import dump_run as read_run

    with open_session(ctx) as db:
        show_document(hidden(db.run(read_run(job_id, attempt)), redact))
