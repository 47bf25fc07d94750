"""Change jobs given by id, or all jobs that match a filter."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Annotated

import typer

from awa_cli.commands._changed import print_line, report
from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import app
from awa_cli.commands.job._change import Change
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import queues
from awa_cli.parser.job_options import Kind, Queue, Selection, hint_at, selecting
from awa_cli.parser.options import FailEmpty, Report, ReportFormat
from awa_cli.terminal.output import result, show_document
from awa_cli.terminal.progress import Progress


@app.command(
    epilog="""
    awa job retry 42 43
    awa job retry --state failed --kind send_email --error timeout --dry-run
    awa job list --state failed -o ids | awa job retry -
    awa job retry 42 --from-step charge
    """
)
@selecting
def retry(
    ctx: typer.Context,
    selection: Selection,
    from_step: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Also do this durable step of the job again, and those that ended after it.",
        ),
    ] = None,
) -> int:
    """Retry jobs.

    Failed, cancelled and waiting_external jobs start over with all their attempts.  Retryable jobs
    run at once and keep their count of attempts.

    With a filter, awa takes failed jobs unless --state names others, shows how many match, and asks
    before it changes them.
    """
    from awa_lib.errors import InvalidInput
    from awa_lib.ops import jobs

    if from_step is None:
        return Change("retry", "Retried", jobs.retry, jobs.retry_page).carry_out(ctx, selection)
    if len(selection.ids) != 1:
        raise InvalidInput(
            "--from-step takes one job",
            why="a step belongs to a job",
            hint=f"awa job retry ID --from-step {shlex.quote(from_step)}",
        )
    one, detail = partial(jobs.retry, from_step=from_step), {"from_step": from_step}
    return Change("retry", "Retried", one, jobs.retry_page, detail).carry_out(ctx, selection)


@app.command(
    epilog="""
    awa job cancel 42 43
    awa job cancel --kind report --state scheduled --yes
    """
)
@selecting
def cancel(ctx: typer.Context, selection: Selection) -> int:
    """Cancel jobs that have not ended.

    A running handler is asked to stop; what it returns is ignored.

    With a filter, awa shows how many jobs match and asks before it changes them.
    """
    from awa_lib.ops import jobs

    return Change("cancel", "Cancelled", jobs.cancel, jobs.cancel_in_pages).carry_out(
        ctx, selection
    )


@app.command(
    epilog="""
    awa job priority 1 42 43
    awa job priority 4 --kind report --tag nightly --yes
    """
)
@selecting
def priority(
    ctx: typer.Context,
    urgency: Annotated[
        int,
        typer.Argument(
            metavar="N", min=1, max=4, help="New priority: 1 is the most urgent, 4 the least."
        ),
    ],
    selection: Selection,
) -> int:
    """Change the priority of waiting jobs.

    With a filter, awa shows how many jobs match and asks before it changes them.
    """
    from awa_lib.ops import jobs

    change = Change(
        "set_priority",
        f"Set priority {urgency} for",
        lambda job_id: jobs.set_priority(job_id, urgency),
        lambda ids: jobs.prioritize_page(ids, urgency),
        {"priority": urgency},
    )
    return change.carry_out(ctx, selection)


@app.command(
    epilog="""
    awa job move slow 42 43
    awa job move slow --kind report --queue default --yes
    """
)
@selecting
def move(
    ctx: typer.Context,
    to_queue: Annotated[
        str,
        typer.Argument(
            metavar="TO_QUEUE", help="Queue to move the jobs to.", autocompletion=queues
        ),
    ],
    selection: Selection,
) -> int:
    """Move waiting jobs to another queue.

    With a filter, awa shows how many jobs match and asks before it changes them.
    """
    from awa_lib.ops import jobs

    change = Change(
        "move_queue",
        "Moved",
        lambda job_id: jobs.move_queue(job_id, to_queue),
        lambda ids: jobs.move_page(ids, to_queue),
        {"to_queue": to_queue},
    )
    return change.carry_out(ctx, selection)


@app.command(
    "retry-failed",
    epilog="""
    awa job retry-failed --kind send_email
    awa job retry-failed --queue email
    """,
)
def retry_failed(
    ctx: typer.Context,
    *,
    kind: Kind = None,
    queue: Queue = None,
    output: Report = ReportFormat.table,
    fail_empty: FailEmpty = False,
) -> int:
    """Retry all failed jobs of a kind or of a queue.

    The command does not ask first.  A job whose unique key is held by another live job stays
    failed.
    """
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.jobs import retry_failed as retry_all_failed

    if kind is None and queue is None:
        raise InvalidInput("Must specify --kind or --queue", hint="see awa job retry-failed --help")
    if kind is not None and queue is not None:
        raise InvalidInput(
            "--kind and --queue cannot be used together",
            why="it is not clear whether a job must match both or one of them",
            hint="run the command once with each",
        )
    with open_session(ctx, changing=True) as db, Progress(common(ctx)):
        op = retry_all_failed(kind=kind, queue=queue)
        target = f"queue {queue}" if kind is None else f"kind {kind}"
        ids = [job.id for job in db.change("job.retry-failed", target, op)]
        if not ids:
            hint_at(db, {"kind": kind, "queue": queue})
    if output is ReportFormat.json:
        from awa_cli.documents.reports import Changed

        show_document(Changed(False, len(ids), 0, 0, ids, None))
    else:
        result(f"Retried {len(ids)} failed jobs")
    return ExitCode.NOTHING if fail_empty and not ids else ExitCode.OK


@app.command(
    epilog="""
    awa job discard --kind send_email --yes
    awa job discard 42 43
    awa job discard --state cancelled --queue old --dry-run
    """
)
@selecting
def discard(ctx: typer.Context, selection: Selection) -> int:
    """Permanently delete jobs that have ended.

    A filter without --state selects failed jobs.  awa shows how many jobs match and asks before it
    deletes them; without a terminal it needs --yes.

    With --kind as the only filter it deletes the failed jobs of that kind, and without a terminal
    it does not need --yes, as in awa 0.5.
    """
    from awa_cli.terminal.prompts import confirm
    from awa_lib.ops import jobs

    filters = selection.query
    if list(filters) == ["kind"] and not (selection.ids or selection.dry_run):
        # As in awa 0.5: no question without a terminal, and the same output.
        with open_session(ctx, changing=True) as db:
            kind = str(filters["kind"])
            confirm(ctx, "job.discard", kind)
            count = db.change(
                "job.discard", kind, jobs.discard_failed(kind), lambda count: {"jobs": count}
            )
        print_line(selection, f"Discarded {count} failed jobs of kind '{kind}'")
        report(selection, count)
        return ExitCode.NOTHING if selection.fail_empty and not count else ExitCode.OK
    if filters and "states" not in filters:
        selection.query["states"] = ["failed"]
    return Change("delete", "Discarded", jobs.discard, jobs.discard_page).carry_out(ctx, selection)
