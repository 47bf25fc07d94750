"""``awa audit``: who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.job_options import Since, Until
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import show_rows
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.audit import AuditEntry

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="""
    awa audit
    awa audit --since 2h --action queue
    awa audit --actor alice -o json | jq '.[].detail'
    """
)
def audit(
    ctx: typer.Context,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="Only changes by them.")] = None,
    action: Annotated[
        str | None,
        typer.Option(metavar="ACTION", help="Only this, like job.retry; or a noun, like queue."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Only changes of this job, queue, ….")
    ] = None,
    since: Since = None,
    until: Until = None,
    before_id: Annotated[
        int | None, typer.Option(metavar="ID", min=0, help="Only entries older than this one.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many.", min=0)] = 20,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List changes by people: commands, the monitor and the web server write them down.

    Newest first.
    What programs do with the library, and workers with jobs, is not in it.
    """
    from awa_cli.parser.job_options import read_query
    from awa_cli.views.columns import AUDIT
    from awa_lib.reads.audit import audit_entries

    span: Any = read_query(since=since, until=until)
    op = audit_entries(
        before_id=before_id, actor=actor, action=action, target=target, limit=limit,
        since=span["since"], until=span["until"],
    )  # fmt: skip

    def footer(shown: Sequence[AuditEntry]) -> str:
        more = f"  Older ones: --before-id {shown[-1].id}" if len(shown) == limit else ""
        return f"{counted(len(shown), 'change')} listed.{more}"

    with open_session(ctx) as db:
        rows = db.run(op)
    count = show_rows(
        rows, AUDIT, output, common(ctx), empty="No changes found.", footer=footer,
        chosen=read_columns(columns),
    )  # fmt: skip
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK
