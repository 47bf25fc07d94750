"""Export schedules to a file, and apply a file."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.cron._app import app
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document
from awa_cli.terminal.prompts import ask
from awa_cli.views.words import clean, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.commands.cron._schedule_files import Change, Wanted
    from awa_lib._sql import Op


class _Language(StrEnum):
    yaml = "yaml"
    toml = "toml"


File = Annotated[
    str,
    typer.Option(
        "--file", "-f", metavar="FILE", help="YAML or TOML (.toml) file; - reads YAML from stdin."
    ),
]
Prune = Annotated[bool, typer.Option("--prune", help="Remove schedules that are not in the file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the differences; change nothing.")]
Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Show the differences; change nothing; exit with status 6 if there are any."
    ),
]


@app.command(
    epilog="""
    awa cron export > schedules.yaml
    awa cron export --format toml > schedules.toml
    """
)
def export(
    ctx: typer.Context,
    *,
    language: Annotated[
        _Language, typer.Option("--format", metavar="FORMAT", help="File format: yaml or toml.")
    ] = _Language.yaml,
) -> None:
    """Print all schedules as a file for awa cron apply."""
    from awa_cli.commands.cron._schedule_files import to_records
    from awa_lib.reads.cron import list_cron_jobs

    with open_session(ctx) as db:
        document = {"schedules": to_records(db.run(list_cron_jobs()))}
    if language is _Language.toml:
        import tomli_w

        result(tomli_w.dumps(document).rstrip())
    else:
        import yaml

        result(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())


@app.command(
    epilog="""
    awa cron apply -f schedules.yaml --dry-run
    awa cron apply -f schedules.toml --prune --yes
    awa cron apply -f schedules.yaml --check
    """
)
def apply(
    ctx: typer.Context,
    *,
    file: File,
    prune: Prune = False,
    dry_run: DryRun = False,
    check: Check = False,
    output: Report = ReportFormat.table,
) -> int:
    """Change the schedules to match a file.

    Shows the differences and asks before it applies them, in one transaction.  A worker that
    declares a schedule of the same name overwrites it when it starts.
    """
    from awa_cli.commands.cron._schedule_files import compare, read_file
    from awa_lib.reads.cron import list_cron_jobs

    wanted = read_file(file)
    read_only = dry_run or check
    with open_session(ctx, changing=not read_only) as db:
        changes = compare(wanted, db.run(list_cron_jobs()), prune=prune)
        real = {change.name: change for change in changes if change.change != "keep"}
        _show(changes, output, color=common(ctx).color())
        if read_only or not real:
            return ExitCode.WRONG if check and real else ExitCode.OK
        ask(ctx, f"make {counted(len(real), 'change')}")
        made = {change.name: change.change for change in real.values()}
        db.change("cron.apply", file, _applied(wanted, real), schedules=made)
    say(f"Applied {counted(len(real), 'change')}.")
    return ExitCode.OK


def _applied(wanted: Sequence[Wanted], real: dict[str, Change]) -> Op[None]:
    """Return the op that makes the changes."""
    from awa_lib.ops.cron import apply_schedules

    written = [one for one in wanted if one.schedule.name in real]
    shifted = [one for one in written if real[one.schedule.name].shifts_pause(one.paused)]
    return apply_schedules(
        [one.schedule for one in written],
        pause=[one.schedule.name for one in shifted if one.paused],
        resume=[one.schedule.name for one in shifted if not one.paused],
        remove=[change.name for change in real.values() if change.change == "remove"],
        paused_by="cli",
    )


def _show(changes: Sequence[Change], output: ReportFormat, *, color: bool) -> None:
    if output is ReportFormat.json:
        show_document(changes)
        return
    signs = {"add": ("+", "32"), "change": ("~", "33"), "remove": ("-", "31")}
    for one in changes:
        if one.change == "keep":
            continue
        sign, code = signs[one.change]
        line = f"{sign} {clean(one.name)}"
        result(f"\x1b[{code}m{line}\x1b[0m" if color else line)
        for field, (old, new) in one.fields.items():
            result(f"    {field}: {_word(old)} -> {_word(new)}")
    kept = sum(one.change == "keep" for one in changes)
    if kept:
        result(f"  {kept} unchanged")


def _word(value: Any) -> str:
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
