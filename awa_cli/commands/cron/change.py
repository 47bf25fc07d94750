"""Trigger, pause, resume and remove schedules."""

from __future__ import annotations

import typer  # noqa: TC002 - typer reads the annotations

from awa_cli.commands._session import open_session
from awa_cli.commands.cron._app import Name, app, run_named
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.options import TABLE, FailEmpty, Output
from awa_cli.terminal.output import result, show_one


@app.command(
    epilog="""
    awa cron trigger nightly
    awa job wait $(awa cron trigger nightly -o ids)
    """
)
def trigger(ctx: typer.Context, name: Name, *, output: Output = TABLE) -> None:
    """Enqueue the job of a schedule now.

    This works for a paused schedule too, and does not change when the schedule fires next.
    """
    from awa_lib.ops.cron import trigger_cron_job
    from awa_lib.reads.new_job import row_of_new

    with open_session(ctx, changing=True) as db:
        op = db.noted("cron.trigger", name, trigger_cron_job(name), lambda job: {"job_id": job.id})
        job = run_named(db, op, ctx.command_path)
    show_one(row_of_new(job), f"Triggered schedule '{name}': job {job.id}", output, common(ctx))


@app.command(epilog="awa cron pause nightly")
def pause(ctx: typer.Context, name: Name) -> None:
    """Pause a schedule until it is resumed.

    A leader of awa 0.5 ignores the pause.
    """
    from awa_lib.ops.cron import pause_cron_job

    with open_session(ctx, changing=True) as db:
        op = db.noted("cron.pause", name, pause_cron_job(name, paused_by="cli"))
        run_named(db, op, ctx.command_path)
    result(f"Paused schedule '{name}'")


@app.command(epilog="awa cron resume nightly")
def resume(ctx: typer.Context, name: Name) -> None:
    """Resume a paused schedule.

    Jobs that were due during the pause are not enqueued.
    """
    from awa_lib.ops.cron import resume_cron_job

    with open_session(ctx, changing=True) as db:
        run_named(db, db.noted("cron.resume", name, resume_cron_job(name)), ctx.command_path)
    result(f"Resumed schedule '{name}'")


@app.command(epilog="awa cron remove nightly")
def remove(ctx: typer.Context, name: Name, *, fail_empty: FailEmpty = False) -> int:
    """Remove a schedule.

    A worker that declares the schedule creates it again when it starts.
    """
    from awa_cli.terminal.prompts import confirm
    from awa_lib.ops.cron import delete_cron_job

    with open_session(ctx, changing=True) as db:
        confirm(ctx, "cron.remove", name)
        gone = db.change("cron.remove", name, delete_cron_job(name))
    if gone:
        result(f"Removed cron schedule '{name}'")
        return ExitCode.OK
    result(f"No cron schedule found with name '{name}'")
    return ExitCode.NOTHING if fail_empty else ExitCode.OK
