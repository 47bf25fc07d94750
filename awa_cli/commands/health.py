"""``awa health``: ready or not, for probes."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import queues
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, show_document

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="""
    awa health
    awa health --workers 2 --queue email
    awa health -o json | jq -r .reasons[]
    """
)
def health(
    ctx: typer.Context,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, help="Also need so many healthy workers.")
    ] = 0,
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUEUE",
            help="Also need a healthy worker of it; may be repeated.",
            autocompletion=queues,
        ),
    ] = None,
    output: Report = ReportFormat.table,
) -> int:
    """Say whether this database is ready for jobs: reachable, migrated, and worked if asked.

    Status 0 when ready, 3 unreachable, 4 not migrated, 6 when workers are missing.
    """
    from awa_lib.errors import SchemaMismatch, Unavailable

    reasons: list[str] = []
    code = ExitCode.OK
    try:
        with open_session(ctx) as db:
            from awa_lib.ops.schema import read_schema
            from awa_lib.reads.runtime import live_instances

            status = db.run(read_schema())
            if not status.current:
                code = ExitCode.SCHEMA
                reasons.append(f"{len(status.pending)} migrations are pending: awa migrate")
            healthy = [one for one in db.run(live_instances()) if one.healthy] if not code else []
    except Unavailable as error:
        code, healthy = ExitCode.UNREACHABLE, []
        reasons.append(f"{error}: {error.why}")
    except SchemaMismatch as error:
        code, healthy = ExitCode.SCHEMA, []
        reasons.append(str(error))
    if not code:
        reasons += _missing_workers(healthy, workers, queue or [])
        code = ExitCode.WRONG if reasons else ExitCode.OK
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


def _missing_workers(healthy: list, needed: int, queues: list[str]) -> list[str]:  # type: ignore[type-arg] # of RuntimeInstance
    reasons = []
    if len(healthy) < needed:
        reasons.append(f"{len(healthy)} of {needed} healthy workers: awa workers --all")
    worked = {given["queue"] for one in healthy for given in one.queues}
    reasons += [f"no healthy worker of queue '{name}'" for name in queues if name not in worked]
    return reasons
