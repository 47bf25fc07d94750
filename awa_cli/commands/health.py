"""``awa health``: a readiness check for probes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import queues
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, show_document

if TYPE_CHECKING:
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["app"]

app = typer.Typer()

Workers = Annotated[
    int, typer.Option(metavar="N", min=0, help="Require at least N healthy workers.")
]
Queues = Annotated[
    list[str] | None,
    typer.Option(
        metavar="QUEUE",
        help="Require a healthy worker of this queue; may be repeated.",
        autocompletion=queues,
    ),
]


@app.command(
    epilog="""
    awa health
    awa health --workers 2 --queue email
    awa health -o json | jq -r .reasons[]
    """
)
def health(
    ctx: typer.Context,
    *,
    workers: Workers = 0,
    queue: Queues = None,
    output: Report = ReportFormat.table,
) -> int:
    """Check whether the database is ready for jobs.

    The database must be reachable and migrated.  With --workers or --queue it must also have
    healthy workers.

    Exits with status 0 if it is ready, 3 if it is unreachable, 4 if it is not migrated, and 6 if
    workers are missing.
    """
    code, reasons = _check(ctx, workers, queue or [])
    if output is ReportFormat.json:
        from awa_cli.documents.reports import Health

        show_document(Health(not code, reasons))
        return code
    color = common(ctx).color()
    word = "not ready" if code else "ready"
    result(f"\x1b[{31 if code else 32}m{word}\x1b[0m" if color else word)
    for reason in reasons:
        result(f"  {reason}")
    return code


def _check(ctx: typer.Context, workers: int, queues: list[str]) -> tuple[ExitCode, list[str]]:
    """Return the exit status, and why the database is not ready."""
    from awa_lib.errors import SchemaMismatch, Unavailable
    from awa_lib.ops.schema import read_schema
    from awa_lib.reads.runtime import live_instances

    try:
        with open_session(ctx) as db:
            status = db.run(read_schema())
            if not status.current:
                reason = f"{len(status.pending)} migrations are pending: awa migrate"
                return ExitCode.SCHEMA, [reason]
            live = db.run(live_instances())
    except Unavailable as error:
        return ExitCode.UNREACHABLE, [f"{error}: {error.why}"]
    except SchemaMismatch as error:
        return ExitCode.SCHEMA, [str(error)]
    missing = _missing_workers(live, workers, queues)
    return ExitCode.WRONG if missing else ExitCode.OK, missing


def _missing_workers(live: list[RuntimeInstance], needed: int, queues: list[str]) -> list[str]:
    healthy = [instance for instance in live if instance.healthy]
    reasons = []
    if len(healthy) < needed:
        reasons.append(f"{len(healthy)} of {needed} healthy workers: awa workers --all")
    worked = {given["queue"] for instance in healthy for given in instance.queues}
    reasons += [f"no healthy worker of queue '{name}'" for name in queues if name not in worked]
    return reasons
