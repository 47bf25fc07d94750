"""Put jobs into the queue."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.commands.job._app import app
from awa_cli.options import TABLE, Output, common
from awa_cli.output import show_one
from awa_cli.session import open_session


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
        row = None if output.for_people else db.run(job_row(job.id))
    show_one(row, f"Enqueued job {job.id}", output, common(ctx))
