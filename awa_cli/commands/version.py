"""``awa version``: what runs here, and whether the database goes with it."""

from __future__ import annotations

from typing import Annotated

import typer

from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="""
    awa version
    awa version --check
    """
)
def version(
    ctx: typer.Context,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with the database and its fleet; 4 if it differs."),
    ] = False,
    output: Report = ReportFormat.table,
) -> int:
    """Print the versions of awa, Python, the driver and the schema this program works with."""
    import platform

    import psycopg

    from awa_cli.documents.encoding import encode
    from awa_cli.documents.reports import VersionCheck, Versions
    from awa_cli.version import version as own_version
    from awa_lib.schema.migrate import current_migration_version

    here = (
        own_version(), platform.python_version(), psycopg.__version__,
        _dotted(psycopg.pq.version()), current_migration_version(),
    )  # fmt: skip
    known = Versions(*here)
    code = ExitCode.OK
    if check:
        from awa_lib.ops.schema import read_schema
        from awa_lib.reads.runtime import live_instances

        with open_session(ctx) as db:
            status = db.run(read_schema())
            fleet = db.run(live_instances()) if status.version else []
            server = _dotted(db.conn.info.server_version)
        pending = [item.label for item in status.pending]
        versions = sorted({one.version for one in fleet})
        known = VersionCheck(*here, server, status.version, pending, versions)
        code = ExitCode.OK if status.current else ExitCode.SCHEMA
    if output is ReportFormat.json:
        show_document(known)
        return code
    for name, value in encode(known).items():
        shown = ", ".join(value) or "none" if isinstance(value, list) else value
        result(f"{name.replace('_', ' '):<16} {shown}")
    if code:
        say("apply the migrations: awa migrate")
    return code


def _dotted(number: int) -> str:
    return f"{number // 10000}.{number % 10000}"
