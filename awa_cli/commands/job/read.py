"""List and show jobs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from awa_cli.commands._options import Limit
from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import One, app
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.job_options import (
    ErrorText,
    FailureId,
    Kind,
    Queue,
    Since,
    States,
    Tag,
    Until,
    Where,
    hint_at,
    read_options,
)
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Redact, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import show_document, show_rows, show_text
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from awa_cli.database.session import Session
    from awa_lib.filters import JobQuery
    from awa_lib.reads.jobs import JobRow

_STREAM_PAGE: Final = 1_000
BeforeId = Annotated[int | None, typer.Option(metavar="ID", help="Only jobs with an id below ID.")]
Sort = Annotated[
    str,
    typer.Option(
        metavar="FIELD",
        help="Field to sort by, such as id or run_at; - before it sorts in descending order.",
        autocompletion=completion.sorts,
    ),
]
Everything = Annotated[
    bool, typer.Option("--all", help="List all jobs; formats other than table stream them.")
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
    *,
    state: States = None,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    since: Since = None,
    until: Until = None,
    where: Where = None,
    error: ErrorText = None,
    failure: FailureId = None,
    before_id: BeforeId = None,
    sort: Sort = "-id",
    limit: Limit = 20,
    everything: Everything = False,
    columns: Columns = None,
    redact: Redact = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List jobs, newest first.

    The column WHEN shows the time that matters in the state of the job: when it may run, when it
    started or ended, or when its callback times out.
    """
    from awa_cli.redact import read_redactor
    from awa_cli.views.job_columns import JOBS

    text = {"kind": kind, "queue": queue, "tag": tag, "since": since, "until": until}
    query = read_options(state=state, where=where, error=error, failure=failure, **text)
    query["before_id"] = before_id
    redactor = read_redactor(redact)
    if redactor is not None:
        redactor.check_query(query)
    _check_order(sort, everything=everything, before_id=before_id)
    with open_session(ctx) as db:
        rows = _rows(db, query, sort=sort, limit=None if everything else limit)
        count = show_rows(
            rows if redactor is None else redactor.rows(rows),
            JOBS,
            output,
            common(ctx),
            empty="No jobs found.",
            footer=partial(_footer, limit=limit if sort == "-id" and not everything else None),
            chosen=read_columns(columns),
        )
        if not count:
            hint_at(db, query)
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


def _check_order(sort: str, *, everything: bool, before_id: int | None) -> None:
    from awa_lib.errors import InvalidInput
    from awa_lib.reads.jobs import SORTS
    from awa_lib.validation import did_you_mean

    field = sort.removeprefix("-")
    if field not in SORTS:
        raise InvalidInput(
            f"jobs cannot be sorted by {field!r}",
            why=f"fields are {', '.join(SORTS)}",
            hint=did_you_mean(field, SORTS, "--sort "),
        )
    if sort != "-id" and (everything or before_id is not None):
        raise InvalidInput(
            "--sort cannot be used with --all or --before-id",
            why="they page through the jobs by id, newest first",
            hint="leave --sort out, or use --limit",
        )


def _rows(db: Session, query: JobQuery, *, sort: str, limit: int | None) -> Iterable[JobRow]:
    """Return the first jobs, or with no limit a stream of all."""
    from awa_lib.reads.job_documents import described_jobs

    if limit is None:
        return _pages(db, query)
    return db.run(described_jobs(sort=sort, limit=limit, **query))


def _pages(db: Session, query: JobQuery) -> Iterator[JobRow]:
    from awa_lib.reads.job_documents import described_jobs

    while rows := db.run(described_jobs(limit=_STREAM_PAGE, **query)):
        yield from rows
        query["before_id"] = rows[-1].id


def _footer(shown: Sequence[JobRow], *, limit: int | None) -> str:
    more = f"  Older jobs: --before-id {shown[-1].id}" if len(shown) == limit else ""
    failed = next((job.id for job in shown if job.state == "failed"), None)
    error = f"  To see an error: awa job show {failed}" if failed is not None else ""
    return f"{counted(len(shown))} listed.{more}{error}"


@app.command(
    epilog="""
    awa job show 42
    awa job show 42 -o json | jq .summary
    """
)
def show(
    ctx: typer.Context, job_id: One, *, redact: Redact = None, output: Report = ReportFormat.table
) -> None:
    """Show a job: state, progress, history, errors, and commands that apply to it."""
    from awa_cli.redact import hidden
    from awa_cli.terminal.pages.job import job_page
    from awa_lib.reads.job_dumps import dump_job

    with open_session(ctx) as db:
        dump = hidden(db.run(dump_job(job_id)), redact)
    if output is ReportFormat.json:
        show_document(dump)
    else:
        show_text(job_page(dump, color=common(ctx).color()))


@app.command(epilog="awa job dump 42 | jq .timeline")
def dump(ctx: typer.Context, job_id: One, *, redact: Redact = None) -> None:
    """Print everything stored about a job as JSON: row, summary and timeline."""
    from awa_cli.redact import hidden
    from awa_lib.reads.job_dumps import dump_job

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
    *,
    attempt: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of the attempt; the current attempt by default."),
    ] = None,
    redact: Redact = None,
) -> None:
    """Print one attempt of a job as JSON.

    An earlier attempt can be shown only if it left an error.
    """
    from awa_cli.redact import hidden
    from awa_lib.reads.job_dumps import dump_run as read_run

    with open_session(ctx) as db:
        show_document(hidden(db.run(read_run(job_id, attempt)), redact))
