"""``awa migrate``: apply the migrations, or print or write their scripts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document
from awa_cli.terminal.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.schema.migrate import Migration, SchemaStatus, Step

__all__ = ["app"]

app = typer.Typer()


_ALONE: Final = "--retire and --restore can be used with --dry-run and --output only"


class Retirable(StrEnum):
    """The indexes that can be retired."""

    dequeue_index = "dequeue-index"


Sql = Annotated[bool, typer.Option("--sql", help="Print the scripts; apply nothing.")]
ExtractTo = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the scripts to files; apply nothing.")
]
From = Annotated[
    int | None,
    typer.Option("--from", metavar="N", help="With --sql or --extract-to: only versions above N."),
]
To = Annotated[
    int | None, typer.Option("--to", metavar="N", help="Stop after canonical version N.")
]
Version = Annotated[
    int | None, typer.Option(metavar="N", help="With --sql or --extract-to: only version N.")
]
Pending = Annotated[
    bool,
    typer.Option(
        "--pending", help="With --sql or --extract-to: only scripts that this database needs."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="List what would be done, and change nothing.")
]
Retire = Annotated[
    Retirable | None,
    typer.Option(
        metavar="INDEX",
        help="Drop an index that only workers of awa 0.5 need, online: dequeue-index.",
    ),
]
Restore = Annotated[
    Retirable | None,
    typer.Option(metavar="INDEX", help="Build it again, online, before such workers start."),
]
Check = Annotated[
    bool,
    typer.Option(
        "--check",
        help="List the pending scripts, and exit with status 4 if there are any; apply nothing.",
    ),
]


@app.command(
    epilog="""
    awa migrate --database-url postgresql://localhost/app
    awa migrate --check
    awa migrate --dry-run
    awa migrate --sql --pending | less
    awa migrate --extract-to db/awa
    awa migrate --retire dequeue-index --dry-run
    """
)
def migrate(
    ctx: typer.Context,
    *,
    sql: Sql = False,
    extract_to: ExtractTo = None,
    from_version: From = None,
    to_version: To = None,
    version: Version = None,
    pending: Pending = False,
    dry_run: DryRun = False,
    check: Check = False,
    retire: Retire = None,
    restore: Restore = None,
    output: Report = ReportFormat.table,
) -> int:
    """Apply database migrations.

    The command can be repeated, and several can run at the same time.  Each script is committed
    separately; after an error, run the command again to continue.

    Scripts V1 to V11 create the schema of awa 0.5.7.  Scripts T0000 and up belong to the toolkit
    and are applied after V11.  A schema that is older than awa 0.5.5 or newer than awa 0.5.7 is
    refused and not changed.
    """
    printing = sql or extract_to is not None
    if retire is not None or restore is not None:
        others = printing or pending or check or from_version or to_version or version
        if others or (retire and restore):
            raise typer.BadParameter(_ALONE)
        _change_index(ctx, dry_run=dry_run, retired=retire is not None, output=output)
        return ExitCode.OK
    _refuse_combinations(
        printing=printing,
        pending=pending,
        ranged=from_version is not None or version is not None,
        only=version is not None and (from_version is not None or to_version is not None),
        quiet=check or dry_run,
    )
    if printing:
        chosen = None if pending else _range(from_version, to_version, version)
        scripts = _status(ctx, to_version).pending if pending else chosen
        if scripts is not None:
            _write_scripts(scripts, None if sql else extract_to, output, pending=pending)
        return ExitCode.OK
    if check or dry_run:
        status = _status(ctx, to_version)
        _list_pending(status, output)
        return ExitCode.SCHEMA if check and status.pending else ExitCode.OK
    _apply(ctx, to_version, output)
    return ExitCode.OK


def _change_index(
    ctx: typer.Context, *, dry_run: bool, retired: bool, output: ReportFormat
) -> None:
    from awa_cli.commands._session import open_session
    from awa_cli.documents.reports import IndexChange
    from awa_lib.schema import retire

    name = Retirable.dequeue_index.value
    with open_session(ctx, changing=not dry_run) as db:
        found = [one.query.text for one in retire.steps(db.conn, retired=retired)]
        if found and not dry_run:
            change = retire.retire if retired else retire.restore
            op = change(db.conn, lambda note: say(f"Waiting: {note}"))
            db.change("index.retire" if retired else "index.restore", name, op)
    if output is ReportFormat.json:
        show_document(IndexChange(name, dry_run, bool(found) and not dry_run, found))
    elif not found:
        result(f"The {name} is {'retired' if retired else 'in place'} already.")
    elif dry_run:
        for text in found:
            result(f"Pending: {' '.join(text.split())}")
        say(f"To do it: awa migrate --{'retire' if retired else 'restore'} {name}")
    else:
        result(f"{'Retired' if retired else 'Restored'} the {name}.")


def _refuse_combinations(
    *, printing: bool, pending: bool, ranged: bool, only: bool, quiet: bool
) -> None:
    if only:
        raise typer.BadParameter("--version cannot be used with --from or --to")
    if pending and ranged:
        raise typer.BadParameter("--pending cannot be used with --from or --version")
    if printing and quiet:
        raise typer.BadParameter("--check and --dry-run cannot be used with --sql or --extract-to")
    if ranged and not printing:
        raise typer.BadParameter(
            "--from and --version choose scripts to print: add --sql or --extract-to, or use --to"
        )


def _status(ctx: typer.Context, target: int | None) -> SchemaStatus:
    from awa_cli.commands._session import connect
    from awa_lib.schema.migrate import plan

    with connect(ctx) as conn:
        return plan(conn, target=target)


def _range(
    from_version: int | None, to_version: int | None, only: int | None
) -> Sequence[Migration] | None:
    """Select scripts by canonical number; those of the toolkit belong to the newest."""
    from awa_lib.ops.schema import require_known
    from awa_lib.schema.migrate import current_migration_version, load

    newest = current_migration_version()
    for bound in (to_version, only):
        if bound is not None:
            require_known(bound)
    low, high = (only - 1, only) if only else (from_version or 0, to_version or newest)
    ours = high == newest and only is None and not (to_version and low >= newest)
    chosen = [
        item
        for item in load()
        if (low < item.version <= high if item.track == "canonical" else ours)
    ]
    if chosen:
        return chosen
    if low >= high:
        say(f"No migrations in range ({low}, {high}].")
    else:
        say("No migrations matched the selected range.")
    return None


def _write_scripts(
    scripts: Sequence[Migration], folder: Path | None, output: ReportFormat, *, pending: bool
) -> None:
    if output is ReportFormat.json and folder is None:
        from awa_cli.documents.reports import MigrationScript

        show_document([MigrationScript(*_facts(item), item.sql) for item in scripts])
    elif not scripts and pending:
        say(_current(None))
    elif folder is None:
        for item in scripts:
            result(f"-- Migration {item.label}: {item.description}\n{_for_psql(item)}")
    else:
        _extract(scripts, folder, output)


def _for_psql(item: Migration) -> str:
    """Wrap a script in a transaction, as the migrator does, for psql."""
    body = item.sql.rstrip()
    return f"BEGIN;\n{body}\nCOMMIT;\n" if item.transactional else f"{body}\n"


def _extract(scripts: Sequence[Migration], folder: Path, output: ReportFormat) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for item in scripts:
        path = folder / item.file_name
        path.write_text(item.sql, encoding="utf-8")
        paths.append(str(path))
        if output is ReportFormat.table:
            result(f"Extracted: {path}")
    if output is ReportFormat.json:
        show_document(paths)


def _current(status: SchemaStatus | None) -> str:
    from awa_lib.schema.migrate import current_migration_version

    version = status.version if status else current_migration_version()
    return f"Schema is up to date (version {version})."


def _facts(item: Migration) -> tuple[str, str, int, str, bool]:
    return item.label, item.track, item.version, item.description, item.breaking


def _list_pending(status: SchemaStatus, output: ReportFormat) -> None:
    from awa_cli.documents import reports

    if output is ReportFormat.json:
        pending = [reports.Migration(*_facts(item)) for item in status.pending]
        show_document(reports.PendingMigrations(status.version, status.current, pending))
    elif status.current:
        result(_current(status))
    else:
        for item in status.pending:
            warning = "  (breaking)" if item.breaking else ""
            result(f"Pending: {item.label} {item.description}{warning}")
        say("To apply them: awa migrate")


def _apply(ctx: typer.Context, to: int | None, output: ReportFormat) -> None:
    from awa_cli.commands._session import connect
    from awa_cli.documents import reports
    from awa_lib.schema.migrate import apply, plan

    with connect(ctx, changing=True) as conn, Progress(common(ctx), "script") as progress:
        found = plan(conn, target=to)
        total = len(found.pending)
        done = 0
        if found.encoding not in {"UTF8", "SQL_ASCII"}:
            say(
                f"warning: the encoding of the database is {found.encoding}, not UTF8; "
                "text that it cannot represent is refused"
            )

        def show(step: Step) -> None:
            nonlocal done
            done += step.status == "applied"
            progress.show(done, total)
            if output is not ReportFormat.json and (text := _line(step)):
                progress.say(text)

        applied = apply(conn, to=to, on_step=show)
        status = plan(conn, target=to)
    if output is ReportFormat.json:
        entries = [reports.Migration(*_facts(item)) for item in applied]
        show_document(reports.AppliedMigrations(status.version, entries))
    elif applied:
        result("Migrations applied successfully.")
    else:
        result(_current(status))


def _line(step: Step) -> str | None:
    if step.status == "waiting":
        return f"Waiting: {step.note}"
    if step.status == "applied" and step.migration:
        item = step.migration
        return f"Applied: {item.label} {item.description} ({step.seconds * 1000:.0f} ms)"
    return None
