"""``awa audit``: the audit log."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._options import BeforeId, Limit
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

Actor = Annotated[str | None, typer.Option(metavar="NAME", help="Only changes by this user.")]
ActionId = Annotated[
    str | None,
    typer.Option(
        "--action",
        metavar="ACTION",
        help="Only this action, such as job.retry, or all actions of a noun, such as queue.",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="TARGET", help="Only changes of this job id, queue, or other target."),
]


@app.command(
    epilog="""
    awa audit
    awa audit --since 2h --action queue
    awa audit --actor alice -o json | jq '.[].detail'
    """
)
def audit(
    ctx: typer.Context,
    *,
    actor: Actor = None,
    action: ActionId = None,
    target: Target = None,
    since: Since = None,
    until: Until = None,
    before_id: BeforeId = None,
    limit: Limit = 20,
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List changes made by people, newest first.

    The log has the changes made with commands, the terminal monitor and the web server.  Changes by
    programs that use the library, and by workers, are not logged.
    """
    from awa_cli.parser.job_options import read_options
    from awa_cli.views.columns import AUDIT
    from awa_lib.reads.audit import audit_entries

    span = read_options(since=since, until=until)
    op = audit_entries(
        before_id=before_id,
        actor=actor,
        action=action,
        target=target,
        limit=limit,
        since=span.get("since"),
        until=span.get("until"),
    )
    with open_session(ctx) as db:
        rows = db.run(op)
    count = show_rows(
        rows,
        AUDIT,
        output,
        common(ctx),
        empty="No changes found.",
        footer=partial(_footer, limit=limit),
        chosen=read_columns(columns),
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


def _footer(shown: Sequence[AuditEntry], *, limit: int) -> str:
    more = f"  Older changes: --before-id {shown[-1].id}" if len(shown) == limit else ""
    return f"{counted(len(shown), 'change')} listed.{more}"
