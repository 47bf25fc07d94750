"""``awa version``: versions of this program, and whether the database matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document

if TYPE_CHECKING:
    from awa_cli.documents.reports import VersionCheck, Versions

__all__ = ["app"]

app = typer.Typer()

Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Compare with the database and its workers; exit with status 4 if a migration is "
        "pending.",
    ),
]


@app.command(
    epilog="""
    awa version
    awa version --check
    """
)
def version(
    ctx: typer.Context, *, check: Check = False, output: Report = ReportFormat.table
) -> int:
    """Print the versions of awa, Python, the driver and the required schema."""
    from awa_cli.documents.encoding import encode

    pending = False
    known = _here()
    if check:
        known = found = _compare(ctx, known)
        pending = bool(found.pending)
    code = ExitCode.SCHEMA if pending else ExitCode.OK
    if output is ReportFormat.json:
        show_document(known)
        return code
    for name, value in encode(known).items():
        shown = ", ".join(value) or "none" if isinstance(value, list) else value
        result(f"{name.replace('_', ' '):<16} {shown}")
    if pending:
        say("To apply the migrations: awa migrate")
    return code


def _here() -> Versions:
    """Return the versions of this program."""
    import platform

    import psycopg

    from awa_cli.documents.reports import Versions
    from awa_cli.version import version as own_version
    from awa_lib.schema.migrate import current_migration_version

    return Versions(
        own_version(),
        platform.python_version(),
        psycopg.__version__,
        _dotted(psycopg.pq.version()),
        current_migration_version(),
    )


def _compare(ctx: typer.Context, here: Versions) -> VersionCheck:
    """Return the versions of this program with those of the database and its workers."""
    from dataclasses import asdict

    from awa_cli.documents.reports import VersionCheck
    from awa_lib.ops.schema import read_schema
    from awa_lib.reads.runtime import live_instances

    with open_session(ctx) as db:
        status = db.run(read_schema())
        fleet = db.run(live_instances()) if status.version else []
        server = _dotted(db.conn.info.server_version)
    return VersionCheck(
        **asdict(here),
        server=server,
        database_schema=status.version,
        pending=[item.label for item in status.pending],
        fleet=sorted({instance.version for instance in fleet}),
    )


def _dotted(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"
