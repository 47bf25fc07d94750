"""``awa doctor``: problems of database, queues and workers, and how to solve them."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.database.session import dial
from awa_cli.database.target import find_target
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.options import TABLE, Columns, Output
from awa_cli.terminal.formats import Format, read_columns
from awa_cli.terminal.output import show_rows, show_text

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["app"]

app = typer.Typer()


class FailOn(StrEnum):
    """The lowest severity that counts as wrong."""

    warning = "warning"
    error = "error"


Check = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Run only this check; may be repeated.",
        autocompletion=completion.checks,
    ),
]
Everything = Annotated[bool, typer.Option("--all", help="Also list checks that found nothing.")]
FailOnOption = Annotated[
    FailOn,
    typer.Option(
        metavar="SEVERITY",
        help="Lowest severity that gives exit status 6: warning or error.",
    ),
]


@app.command(
    epilog="""
    awa doctor
    awa doctor --check horizon --check dead-rows
    awa doctor --fail-on error --quiet
    awa doctor -o json | jq -r '.[] | select(.severity == "error") | .do'
    """
)
def doctor(
    ctx: typer.Context,
    *,
    check: Check = None,
    everything: Everything = False,
    fail_on: FailOnOption = FailOn.warning,
    columns: Columns = None,
    output: Output = TABLE,
) -> int:
    """Check the database, queues and workers, and show how to solve each problem.

    An error stops jobs or puts data at risk.  A warning costs performance, or becomes an error
    later.  A note is information.

    Exits with status 6 if there is an error or a warning, and 0 otherwise.

    The checks change nothing, hold no locks, and work on a standby and with a read-only role.  A
    check that lacks a privilege reports that.
    """
    from awa_lib.doctor import CHECKS
    from awa_lib.doctor import doctor as examine

    names = [name for given in check or [] for name in given.split(",") if name] or None
    with open_session(ctx) as db:
        findings = db.run(examine(names, everything=everything, beside=lambda: _second(ctx)))
    chosen = read_columns(columns)
    if output.format is Format.table and not chosen:
        from shutil import get_terminal_size

        from awa_cli.terminal.pages.doctor import doctor_page

        width = get_terminal_size().columns
        checked = len(set(names)) if names else len(CHECKS)
        show_text(doctor_page(findings, checked, width=width, color=common(ctx).color()))
    else:
        from awa_cli.views.columns import FINDINGS

        show_rows(
            findings, FINDINGS, output, common(ctx), empty="No problems found.", chosen=chosen
        )
    wrong = {"error", fail_on.value}
    return ExitCode.WRONG if any(one.severity in wrong for one in findings) else ExitCode.OK


@contextmanager
def _second(ctx: typer.Context) -> Iterator[None]:
    """Keep a transaction open on a second connection to the same server."""
    from awa_lib.db.drive import run
    from awa_lib.reads.health import ping

    target = find_target(common(ctx))
    if target.url.startswith("embedded:"):
        yield
        return
    conn = dial(target, seconds=common(ctx).connect_timeout)
    try:
        conn.autocommit = False
        run(conn, ping())
        yield
    finally:
        conn.close()
