"""``awa job``: look at jobs, run them again, cancel, enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from awa_cli.errors import ExitCode, complain, exit_code_for
from awa_cli.options import TABLE, Columns, FailEmpty, Output, Yes, common
from awa_cli.output import result, show_document, show_rows
from awa_cli.shapes import Format, read_columns
from awa_cli.target import open_session
from awa_cli.which import ErrorText, Kind, Queue, Since, States, Tag, Until, Where, read_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from awa_cli.target import Session
    from awa_lib._sql import Op
    from awa_lib.models import Job
    from awa_lib.reads.jobs import JobQuery, JobRow

__all__ = ["app"]

app = typer.Typer(
    help="Look at jobs, run them again, cancel, discard and enqueue them.",
    epilog="""
    awa job list --state failed
    awa job dump 42
    awa job retry 42
    """,
)

_LARGEST: Final = 2**63 - 1
# Rows of one page of a stream.
_PAGE: Final = 1_000
One = Annotated[int, typer.Argument(metavar="ID", max=_LARGEST, help="Id of the job.")]
Many = Annotated[list[int], typer.Argument(metavar="ID...", max=_LARGEST, help="Ids of jobs.")]


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
    before_id: Annotated[
        int | None, typer.Option(metavar="ID", help="Only jobs older than this one.")
    ] = None,
    sort: Annotated[
        str, typer.Option(metavar="FIELD", help="id, run_at, …; with - for the largest first.")
    ] = "-id",
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.", min=0)] = 20,
    everything: Annotated[
        bool, typer.Option("--all", help="All of them; streamed unless it is a table.")
    ] = False,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List jobs, newest first.

    WHEN is the time that matters: when it may run, began, ended, or times out waiting.
    """
    from awa_cli.columns import JOBS
    from awa_lib.reads.jobs import job_rows

    query = read_query(
        states=state, kind=kind, queue=queue, tag=tag, since=since, until=until, where=where,
        error=error,
    )  # fmt: skip
    query["before_id"] = before_id
    _check_order(sort, everything=everything, before_id=before_id)

    def footer(shown: Sequence[JobRow]) -> str:
        cut = len(shown) == limit and sort == "-id" and not everything
        more = f"  Older ones: --before-id {shown[-1].id}" if cut else ""
        return f"{len(shown)} jobs listed.{more}"

    with open_session(ctx) as db:
        rows: Iterable[JobRow] = (
            _pages(db, query) if everything else db.run(job_rows(sort=sort, limit=limit, **query))
        )
        count = show_rows(
            rows, JOBS, output, common(ctx), empty="No jobs found.", footer=footer,
            chosen=read_columns(columns),
        )  # fmt: skip
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
    from awa_lib.reads.jobs import job_rows

    while rows := db.run(job_rows(limit=_PAGE, **query)):
        yield from rows
        query["before_id"] = rows[-1].id


@app.command(epilog="awa job dump 42 | jq .timeline")
def dump(ctx: typer.Context, job_id: One) -> None:
    """Print all that is known of a job as JSON: row, summary, timeline."""
    from awa_lib.reads.jobs import dump_job

    with open_session(ctx) as db:
        show_document(db.run(dump_job(job_id)))


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
) -> None:
    """Print one attempt of a job as JSON.

    An earlier attempt is known from the error it left; one that left none is not kept.
    """
    from awa_lib.reads.jobs import dump_run as read_run

    with open_session(ctx) as db:
        show_document(db.run(read_run(job_id, attempt)))


@app.command(epilog="awa job retry 42 43")
def retry(ctx: typer.Context, job_ids: Many) -> int:
    """Run jobs again: failed, cancelled and waiting ones from the start, retryable ones at once."""
    from awa_lib.ops.jobs import retry as retry_job

    with open_session(ctx, changing=True) as db:
        return _each(ctx, db, job_ids, retry_job, "Retried job {}")


@app.command(epilog="awa job cancel 42 43")
def cancel(ctx: typer.Context, job_ids: Many) -> int:
    """Cancel jobs that have not ended; a running handler is told to stop."""
    from awa_lib.ops.jobs import cancel as cancel_job

    with open_session(ctx, changing=True) as db:
        return _each(ctx, db, job_ids, cancel_job, "Cancelled job {}")


def _each(
    ctx: typer.Context,
    db: Session,
    job_ids: Sequence[int],
    op: Callable[[int], Op[Job]],
    sentence: str,
) -> int:
    """Change jobs one by one; a job that cannot be changed does not stop the others."""
    import sys

    from awa_lib.errors import Conflict, NotFound

    code = ExitCode.OK
    for job_id in job_ids:
        try:
            db.run(op(job_id))
        except (Conflict, NotFound) as error:
            complain(str(error), error.why, error.hint, color=common(ctx).color(sys.stderr))
            code = exit_code_for(error)
        else:
            result(sentence.format(job_id))
    return code


@app.command(
    "retry-failed",
    epilog="""
    awa job retry-failed --kind send_email
    awa job retry-failed --queue email
    """,
)
def retry_failed(
    ctx: typer.Context, kind: Kind = None, queue: Queue = None, fail_empty: FailEmpty = False
) -> int:
    """Run every failed job of one kind or one queue again.

    Jobs whose unique key another live job holds stay failed.
    """
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.jobs import retry_failed as retry_all_failed

    if kind is None and queue is None:
        raise InvalidInput("Must specify --kind or --queue", hint="see awa job retry-failed --help")
    if kind is not None and queue is not None:
        raise InvalidInput(
            "--kind and --queue exclude each other",
            why="it would not be clear whether either or both must match",
            hint="run it once with each",
        )
    with open_session(ctx, changing=True) as db:
        count = len(db.run(retry_all_failed(kind=kind, queue=queue)))
    result(f"Retried {count} failed jobs")
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


@app.command(epilog="awa job discard --kind send_email --yes")
def discard(
    ctx: typer.Context,
    kind: Annotated[str, typer.Option(metavar="KIND", help="Kind of the jobs to delete.")],
    yes: Yes = False,
    fail_empty: FailEmpty = False,
) -> int:
    """Delete every failed job of a kind for good.

    Asks first at a terminal.
    """
    from awa_cli.actions import confirm
    from awa_lib.ops.jobs import discard_failed

    with open_session(ctx, changing=True) as db:
        confirm("job.discard", kind, yes=yes)
        count = db.run(discard_failed(kind))
    result(f"Discarded {count} failed jobs of kind '{kind}'")
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


@app.command(
    epilog="""
    awa job enqueue send_email --args '{"to": "a@example.org"}'
    awa job enqueue report --args @report.json --queue slow --in 2h30m
    jq -c .payload event.json | awa job enqueue ingest --args - --tag import
    """
)
def enqueue(
    ctx: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What kind of job.")],
    args: Annotated[
        str, typer.Option("--args", metavar="JSON", help="An object, @FILE, or - for stdin.")
    ] = "{}",
    queue: Annotated[str, typer.Option(metavar="QUEUE", help="Where it waits.")] = "default",
    priority: Annotated[
        int, typer.Option(metavar="N", min=1, max=4, help="1 is the most urgent.")
    ] = 2,
    max_attempts: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="Attempts before it fails for good.")
    ] = 25,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A tag; may be given again.")
    ] = None,
    metadata: Annotated[str, typer.Option(metavar="JSON", help="An object to go with it.")] = "{}",
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not before this moment, RFC 3339.")
    ] = None,
    in_: Annotated[
        str | None, typer.Option("--in", metavar="DURATION", help="Not before 90s, 10m, 2h30m, 7d.")
    ] = None,
    output: Output = TABLE,
) -> None:
    """Put a job into the queue."""
    from datetime import UTC, datetime

    from awa_cli.inputs import read_duration, read_json, read_moment
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.inserts import insert
    from awa_lib.reads.jobs import job_row

    if run_at is not None and in_ is not None:
        raise InvalidInput("--run-at and --in exclude each other", hint="give one of them")
    start = read_moment(run_at, "--run-at") if run_at is not None else None
    if in_ is not None:
        start = datetime.now(UTC) + read_duration(in_, "--in")
    op = insert(
        read_json(args, "--args"),
        kind=kind,
        queue=queue,
        priority=priority,
        max_attempts=max_attempts,
        tags=tag or [],
        metadata=read_json(metadata, "--metadata"),
        run_at=start,
    )
    with open_session(ctx, changing=True) as db:
        job = db.run(op)
        if output.for_people:
            result(f"Enqueued job {job.id}")
        elif output.format is Format.json:
            show_document(db.run(job_row(job.id)))
        else:
            show_rows([db.run(job_row(job.id))], (), output, common(ctx), empty="")
