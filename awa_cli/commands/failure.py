"""``awa failure``: groups of attempts that failed in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._bulk import carry_out
from awa_cli.commands._changed import print_line, report
from awa_cli.commands._options import DryRun, Limit
from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import failure_ids, kinds, queues
from awa_cli.parser.job_options import read_options
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import result, say, show_document, show_rows, show_text
from awa_cli.terminal.prompts import ask
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from awa_cli.database.session import Session
    from awa_lib.models import BulkOperation
    from awa_lib.reads.failures import Failure

__all__ = ["app"]

app = typer.Typer(
    help="List, show, retry and mute failures.",
    epilog="""
    awa failure list --since 1h
    awa failure show 3f9a2c81d0e1
    awa failure retry 3f9a2c81d0e1
    """,
)

Id = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the failure.", autocompletion=failure_ids)
]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Count from: 2h, 7d ago, or an RFC 3339 time; 24h by default."
    ),
]
Back = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        help="Count from: 2h, 7d ago, or an RFC 3339 time; 30d by default.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Only failures of this kind.", autocompletion=kinds),
]
Queue = Annotated[
    str | None,
    typer.Option(metavar="QUEUE", help="Only failures in this queue.", autocompletion=queues),
]
Muted = Annotated[bool, typer.Option("--muted", help="Also list muted failures.")]
For = Annotated[str, typer.Option("--for", metavar="DURATION", help="Mute for this long: 12h, 7d.")]


@app.command(
    "list",
    epilog="""
    awa failure list
    awa failure list --since 1h --queue email
    awa failure list --since 7d -o json | jq '.[] | select(.failed > 100) | .id'
    """,
)
def list_(
    ctx: typer.Context,
    *,
    since: Since = None,
    kind: Kind = None,
    queue: Queue = None,
    muted: Muted = False,
    limit: Limit = 20,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List failures, the most frequent first.

    A failure is a group of attempts that failed in the same way: with the same exception, in the
    same functions of the application, with the same message but for numbers and names.  Its counts
    stay when its jobs are retried or deleted.
    """
    from awa_cli.views.failures import FAILURE_GROUPS
    from awa_lib.reads.failures import list_failures

    op = list_failures(since=_moment(since), kind=kind, queue=queue, muted=muted, limit=limit)
    with open_session(ctx) as db:
        rows = db.run(op)
    count = show_rows(
        rows,
        FAILURE_GROUPS,
        output,
        common(ctx),
        empty="No failures found.",
        footer=partial(_footer, limit=limit),
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


def _footer(shown: Sequence[Failure], *, limit: int) -> str:
    more = "  There may be more: --limit N" if len(shown) == limit else ""
    why = f"  To see its jobs: awa failure show {shown[0].id}"
    return f"{counted(len(shown), 'failure')} listed.{more}{why}"


@app.command(epilog="awa failure show 3f9a2c81d0e1")
def show(
    ctx: typer.Context,
    failure_id: Id,
    *,
    since: Back = None,
    output: Report = ReportFormat.table,
) -> None:
    """Show one failure with its latest jobs."""
    from awa_cli.terminal.pages.failure import failure_page
    from awa_lib.reads.failures import failure_details

    op = failure_details(failure_id, since=_moment(since))
    with open_session(ctx) as db:
        found = db.run(op)
    if output is ReportFormat.json:
        show_document(found)
    else:
        show_text(failure_page(found, color=common(ctx).color()))


@app.command(
    epilog="""
    awa failure retry 3f9a2c81d0e1
    awa failure retry 3f9a2c81d0e1 --dry-run
    """
)
def retry(
    ctx: typer.Context,
    failure_id: Id,
    *,
    dry_run: DryRun = False,
    output: Report = ReportFormat.table,
    fail_empty: FailEmpty = False,
) -> int:
    """Retry the jobs and dead letters whose last attempt failed so.

    awa shows how many there are and asks first.  The jobs are retried by a bulk operation, which
    the leader of the workers continues after a crash.
    """
    from awa_lib.ops.bulk import preview_bulk_operation
    from awa_lib.ops.dead_letters import bulk_retry_from_dlq
    from awa_lib.ops.failures import checked_failure
    from awa_lib.reads.dead_letters import count_dead_letters

    chosen = _Chosen(dry_run, output)
    with open_session(ctx, changing=not dry_run) as db:
        db.run(checked_failure(failure_id))
        found = db.run(preview_bulk_operation("retry", state="failed", failure=failure_id))
        jobs, dead = found.total_matched, db.run(count_dead_letters(failure=failure_id))
        if dry_run or not jobs + dead:
            print_line(chosen, _things(jobs, dead) if jobs + dead else "No jobs match.")
            report(chosen, jobs + dead, ids=found.sample)
            return ExitCode.NOTHING if fail_empty and not jobs + dead else ExitCode.OK
        ask(ctx, f"retry {_things(jobs, dead)}")
        ended = _retry_jobs(ctx, db, failure_id) if jobs else None
        if dead:
            again = bulk_retry_from_dlq(failure=failure_id)
            dead = db.change("dlq.retry-all", f"failure {failure_id}", again)
    return _report(chosen, ended, dead)


@dataclass(frozen=True, slots=True)
class _Chosen:
    dry_run: bool
    output: ReportFormat


def _retry_jobs(ctx: typer.Context, db: Session, failure_id: str) -> BulkOperation:
    from awa_cli.views.actions import submitted
    from awa_lib.ops.bulk import submit_bulk_operation

    submit = submit_bulk_operation("retry", submitted_by="awa", state="failed", failure=failure_id)
    operation = db.change("failure.retry", failure_id, submit, submitted)
    return carry_out(ctx, db, operation.id)


def _report(chosen: _Chosen, ended: BulkOperation | None, dead: int) -> int:
    jobs = 0 if ended is None else ended.processed
    print_line(chosen, f"Retried {_things(jobs, dead)}")
    if ended is None:
        report(chosen, dead)
        return ExitCode.OK
    skipped, errored = ended.skipped, ended.errored
    report(chosen, jobs + dead, skipped=skipped, errored=errored, batch_id=ended.id)
    if skipped:
        say(f"Skipped {counted(skipped)} locked or changed by another session.")
    if errored:
        say(f"{counted(errored)} could not be changed: {ended.last_error}")
    return ExitCode.FAILED if errored else ExitCode.OK


def _things(jobs: int, dead: int) -> str:
    """Write ``2,000 jobs and 3 dead letters``."""
    parts = [counted(jobs)] if jobs or not dead else []
    return " and ".join([*parts, *([counted(dead, "dead letter")] if dead else [])])


@app.command(
    epilog="""
    awa failure mute 3f9a2c81d0e1
    awa failure mute 3f9a2c81d0e1 --for 30d
    """
)
def mute(ctx: typer.Context, failure_id: Id, *, duration: For = "7d") -> None:
    """Leave a failure out of lists for some time.

    It is still counted, and its jobs are not changed.
    """
    from awa_cli.clock import now
    from awa_cli.filters.values import read_duration
    from awa_lib.ops.failures import mute_failure

    span = read_duration(duration, "--for")
    with open_session(ctx, changing=True) as db:
        db.change("failure.mute", failure_id, mute_failure(failure_id, now() + span))
    result(f"Muted failure {failure_id} for {duration}")


@app.command(epilog="awa failure unmute 3f9a2c81d0e1")
def unmute(ctx: typer.Context, failure_id: Id) -> None:
    """Show a muted failure in lists again."""
    from awa_lib.ops.failures import unmute_failure

    with open_session(ctx, changing=True) as db:
        db.change("failure.unmute", failure_id, unmute_failure(failure_id))
    result(f"Unmuted failure {failure_id}")


def _moment(text: str | None) -> datetime | None:
    return read_options(since=text).get("since")
