"""``awa dlq``: dead letters, which are failed jobs kept in a separate table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.commands._changed import Change, each, print_line, report
from awa_cli.commands._options import BeforeId, DryRun, Everything, Limit
from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import dead_ids, job_ids, queues
from awa_cli.parser.job_options import FailureId, Kind, Queue, Tag, read_ids, read_options
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output, Redact, Report, ReportFormat
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import result, show_document, show_rows, show_text
from awa_cli.terminal.progress import Progress
from awa_cli.terminal.prompts import ask
from awa_cli.views.words import clean, counted
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from awa_lib._sql import Op
    from awa_lib.reads.dead_letters import DeadLetter

__all__ = ["app"]

app = typer.Typer(
    help="List, retry and delete dead letters.",
    epilog="""
    awa dlq list --queue email
    awa dlq retry --kind send_email --yes
    awa dlq enable email
    """,
)

# As in the preview of a bulk operation.
_SAMPLE: Final = 10

Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...", help="Ids of jobs, or - to read them from stdin.", autocompletion=dead_ids
    ),
]
FailedIds = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ID...", help="Ids of jobs, or - to read them from stdin.", autocompletion=job_ids
    ),
]
RetryQueue = Annotated[
    str | None,
    typer.Option(
        metavar="QUEUE",
        help="Retry the jobs in this queue; only with ids.",
        autocompletion=queues,
    ),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Reason to store with each dead letter.")]
QueueName = Annotated[
    str, typer.Argument(metavar="QUEUE", help="Name of the queue.", autocompletion=queues)
]


@app.command(
    "list",
    epilog="""
    awa dlq list --kind send_email
    awa dlq list --queue email -o ids | awa dlq retry -
    """,
)
def list_(
    ctx: typer.Context,
    *,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    failure: FailureId = None,
    before_id: BeforeId = None,
    limit: Limit = 20,
    columns: Columns = None,
    redact: Redact = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List dead letters, highest job id first."""
    from awa_cli.redact import hidden
    from awa_cli.views.job_columns import DEAD_LETTERS
    from awa_lib.reads.dead_letters import dead_letters

    def footer(shown: Sequence[DeadLetter]) -> str:
        more = f"  Older dead letters: --before-id {shown[-1].id}" if len(shown) == limit else ""
        why = f"  To see an error: awa dlq show {shown[0].id}"
        return f"{counted(len(shown), 'dead letter')} listed.{more}{why}"

    with open_session(ctx) as db:
        op = dead_letters(before_id=before_id, limit=limit, **_filters(kind, queue, tag, failure))
        rows = hidden(db.run(op), redact)
    count = show_rows(
        rows,
        DEAD_LETTERS,
        output,
        common(ctx),
        empty="No dead letters found.",
        footer=footer,
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


@app.command(epilog="awa dlq show 42")
def show(
    ctx: typer.Context,
    job_id: Annotated[
        int,
        typer.Argument(metavar="ID", max=INT64_MAX, help="Id of the job.", autocompletion=dead_ids),
    ],
    *,
    redact: Redact = None,
    output: Report = ReportFormat.table,
) -> None:
    """Show one dead letter."""
    from awa_cli.redact import hidden
    from awa_cli.terminal.pages.bulk import dead_letter_page
    from awa_lib.reads.dead_letters import dead_letter

    with open_session(ctx) as db:
        found = hidden(db.run(dead_letter(job_id)), redact)
    if output is ReportFormat.json:
        show_document(found)
    else:
        show_text(dead_letter_page(found, color=common(ctx).color()))


@app.command(
    epilog="""
    awa dlq depth
    awa dlq depth --queue email
    """
)
def depth(ctx: typer.Context, *, queue: Queue = None, output: Report = ReportFormat.table) -> None:
    """Count dead letters, in total and per queue."""
    from awa_lib.reads.dead_letters import dlq_depth, dlq_depth_by_queue

    with open_session(ctx) as db:
        total = db.run(dlq_depth(queue))
        by_queue = {} if queue is not None else db.run(dlq_depth_by_queue())
    if output is ReportFormat.json:
        from awa_cli.documents.reports import Depth

        show_document(Depth(total, by_queue if queue is None else {queue: total}))
        return
    result(counted(total, "dead letter"))
    for name, number in by_queue.items():
        result(f"  {clean(name)}  {number:,}")


@app.command(
    epilog="""
    awa dlq retry 42 43
    awa dlq retry --kind send_email --yes
    """
)
def retry(
    ctx: typer.Context,
    jobs: Ids = None,
    *,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    failure: FailureId = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    to_queue: RetryQueue = None,
    output: Report = ReportFormat.table,
    fail_empty: FailEmpty = False,
) -> int:
    """Retry dead letters.

    Each becomes a job again, with the same id, all its attempts, and the errors so far.  A dead
    letter whose unique key is held by another live job is not changed.

    With a filter, awa shows how many match and asks before it changes them.
    """
    from awa_lib.ops import dead_letters as dead

    filters = _filters(kind, queue, tag, failure)
    chosen = _Chosen(read_ids(jobs or ()), filters, everything, dry_run, fail_empty, output)
    return chosen.carry_out(
        ctx,
        "retry",
        "Retried",
        one=lambda job_id: dead.retry_from_dlq(job_id, queue=to_queue),
        page=lambda ids: dead.retry_page(ids, to_queue),
        many=lambda: dead.bulk_retry_from_dlq(all=everything, **filters),
    )


@app.command(
    epilog="""
    awa dlq purge 42
    awa dlq purge --queue email --yes
    """
)
def purge(
    ctx: typer.Context,
    jobs: Ids = None,
    *,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    failure: FailureId = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    output: Report = ReportFormat.table,
    fail_empty: FailEmpty = False,
) -> int:
    """Permanently delete dead letters.

    With a filter, awa shows how many match and asks before it deletes them.
    """
    from awa_lib.ops import dead_letters as dead

    filters = _filters(kind, queue, tag, failure)
    chosen = _Chosen(read_ids(jobs or ()), filters, everything, dry_run, fail_empty, output)
    return chosen.carry_out(
        ctx,
        "purge",
        "Purged",
        one=dead.purge_dlq_job,
        page=dead.purge_page,
        many=lambda: dead.purge_dlq(all=everything, **filters),
    )


@app.command(
    epilog="""
    awa dlq move 42
    awa dlq move --queue email --reason 'bad template' --yes
    """
)
def move(
    ctx: typer.Context,
    jobs: FailedIds = None,
    *,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    failure: FailureId = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    reason: Reason = "moved by hand",
    output: Report = ReportFormat.table,
    fail_empty: FailEmpty = False,
) -> int:
    """Move failed jobs to the dead letters.

    With a filter, awa shows how many match and asks before it moves them.
    """
    from awa_lib.ops import dead_letters as dead

    filters = _filters(kind, queue, tag, failure)
    chosen = _Chosen(read_ids(jobs or ()), filters, everything, dry_run, fail_empty, output)
    return chosen.carry_out(
        ctx,
        "move",
        "Moved",
        one=lambda job_id: dead.move_failed_to_dlq(job_id, reason),
        page=lambda ids: dead.move_page(ids, reason),
        many=lambda: dead.bulk_move_failed_to_dlq(reason=reason, all=everything, **filters),
    )


@app.command(epilog="awa dlq enable email")
def enable(ctx: typer.Context, queue: QueueName) -> None:
    """Move the jobs of a queue that fail from now on to the dead letters."""
    _set(ctx, queue, enabled=True)
    result(f"Failed jobs of queue '{queue}' become dead letters")


@app.command(epilog="awa dlq disable email")
def disable(ctx: typer.Context, queue: QueueName) -> None:
    """Keep the failed jobs of a queue among the jobs.

    Existing dead letters are not changed.
    """
    _set(ctx, queue, enabled=False)
    result(f"Failed jobs of queue '{queue}' stay among the jobs")


def _set(ctx: typer.Context, queue: str, *, enabled: bool) -> None:
    from awa_lib.ops.dead_letters import set_dead_letters

    with open_session(ctx, changing=True) as db:
        action = "dlq.enable" if enabled else "dlq.disable"
        db.change(action, queue, set_dead_letters(queue, enabled))


def _filters(kind: str | None, queue: str | None, tag: str | None, failure: str | None) -> Any:
    return read_options(kind=kind, queue=queue, tag=tag, failure=failure)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The jobs to change: ids, or a filter, which needs confirmation."""

    ids: list[int]
    filters: dict[str, Any]
    everything: bool
    dry_run: bool
    fail_empty: bool
    output: ReportFormat

    def carry_out(
        self,
        ctx: typer.Context,
        verb: str,
        done: str,
        *,
        one: Callable[[int], Op[Any]],
        page: Callable[[Sequence[int]], Op[Sequence[int]]],
        many: Callable[[], Op[int]],
    ) -> int:
        """Change the jobs given by id, or all that match after asking.  Raises InvalidInput."""
        from awa_lib.errors import InvalidInput

        if bool(self.ids) == bool(self.filters or self.everything):
            raise InvalidInput(
                "ids and filters cannot be used together" if self.ids else "no jobs were selected",
                hint=f"give ids, a filter such as --kind, or --all; see {ctx.command_path} --help",
            )
        thing = "failed job" if verb == "move" else "dead letter"
        with open_session(ctx, changing=not self.dry_run) as db:
            if self.ids:
                return each(ctx, db, self, self.ids, Change(f"dlq.{verb}", done, one, page))
            found, sample = db.run(_matching(verb, self.filters))
            if found and not self.dry_run:
                ask(ctx, f"{verb} {counted(found, thing)}")
                target = ", ".join(f"{name} {value}" for name, value in self.filters.items())
                with Progress(common(ctx)):
                    found = db.change(f"dlq.{verb}-all", target or "all", many())
        print_line(
            self, counted(found, thing) if self.dry_run else f"{done} {counted(found, thing)}"
        )
        report(self, found, ids=sample if self.dry_run else ())
        return ExitCode.NOTHING if self.fail_empty and not found else ExitCode.OK


def _matching(verb: str, filters: dict[str, Any]) -> Op[tuple[int, list[int]]]:
    """Return how many match, and some of their ids."""
    from awa_lib.ops.bulk import preview_bulk_operation
    from awa_lib.reads.dead_letters import count_dead_letters, dead_letters

    if verb == "move":
        found = yield from preview_bulk_operation("delete", state="failed", **filters)
        return found.total_matched, found.sample
    total = yield from count_dead_letters(**filters)
    return total, [one.id for one in (yield from dead_letters(limit=_SAMPLE, **filters))]
