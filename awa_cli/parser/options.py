"""Options that many commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer._click.types import INT, FloatRange
from typer.core import TyperOption

from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.terminal.formats import Shape, read_shape

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "COMMON_PANEL",
    "TABLE",
    "Columns",
    "FailEmpty",
    "LogFormat",
    "LogFormatOption",
    "Output",
    "Redact",
    "Report",
    "ReportFormat",
    "common_options",
]

COMMON_PANEL: Final = "Common options"


class ReportFormat(StrEnum):
    """The output format of a command that reports on one thing."""

    table = "table"
    json = "json"


Report = Annotated[
    ReportFormat,
    typer.Option("--output", "-o", help="Output format: table or json.", metavar="FORMAT"),
]
Output = Annotated[
    Shape,
    typer.Option(
        "--output",
        "-o",
        help="Output format: table, wide, json, ndjson, yaml, csv, ids, template='{field}'.",
        metavar="FORMAT",
        parser=read_shape,
        autocompletion=completion.formats,
        show_default="table",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="FIELDS", help="Columns of table and csv, named as in JSON: id,kind,args.to."
    ),
]
Redact = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        envvar="AWA_REDACT",
        help="Hide values in args, results, metadata and progress whose key matches this regex.",
    ),
]
TABLE: Final = Shape()


class LogFormat(StrEnum):
    """The form of what a long-running command writes to stderr."""

    text = "text"
    json = "json"


def _begin_logs(ctx: typer.Context, value: LogFormat) -> LogFormat:
    """Start to write JSON before other options are read, so that their errors are JSON too."""
    if value == LogFormat.json and not ctx.resilient_parsing:
        from awa_cli.worker.logs import write_json

        write_json()
    return value


LogFormatOption = Annotated[
    LogFormat,
    typer.Option(
        "--log-format",
        metavar="FORMAT",
        envvar="AWA_LOG_FORMAT",
        is_eager=True,
        callback=_begin_logs,
        help="Format of stderr: text, or json for one object per line.",
    ),
]
FailEmpty = Annotated[
    bool, typer.Option("--fail-empty", help="Exit with status 5 if nothing matches.")
]


def common_options() -> list[TyperOption]:
    """Make the options that every group and command takes."""
    return [
        _option(
            "--database-url",
            text="Database URL, or embedded:.  [env: DATABASE_URL]",
            metavar="URL",
        ),
        _option(
            "--context",
            text="Context of the config file to use.",
            metavar="NAME",
            autocompletion=lambda _ctx, _args, incomplete: completion.contexts(incomplete),
        ),
        _option(
            "--connect-timeout",
            text="Time to wait for a connection; 5 by default.",
            metavar="SECONDS",
            type=FloatRange(min=1),
        ),
        _flag("-y", "--yes", text="Answer yes to all questions, also in a protected context."),
        _option(
            "-v",
            "--verbose",
            text="Print each SQL statement with its duration; -vv also tracebacks.",
            count=True,
            type=INT,
        ),
        _flag("-q", "--quiet", text="Print only data and errors."),
        _flag("--no-color", text="Do not use colors.  [env: NO_COLOR]"),
        _flag("--no-pager", text="Do not use a pager.  [env: AWA_PAGER, PAGER]"),
    ]


def _flag(*names: str, text: str) -> TyperOption:
    return _option(*names, text=text, is_flag=True, default=False)


def _option(*names: str, text: str, **more: Any) -> TyperOption:
    """Make an option that sets the field of ``Common`` of its long name."""
    field = names[-1].removeprefix("--").replace("-", "_")
    return TyperOption(
        param_decls=list(names),
        help=text,
        expose_value=False,
        callback=_remember(field),
        rich_help_panel=COMMON_PANEL,
        **more,
    )


def _remember(field: str) -> Callable[..., Any]:
    def callback(ctx: typer.Context, param: Any, value: Any) -> None:
        if isinstance(value, str) and not value.strip() and not ctx.resilient_parsing:
            from awa_lib.errors import InvalidInput

            # If ignored, the command would run on another database than the intended one.
            raise InvalidInput(
                f"{param.opts[0]} is empty",
                why="the variable in it is probably not set",
                hint=f"write {param.opts[0]} {param.metavar}, or leave it out",
            )
        if value:
            setattr(common(ctx), field, value)

    return callback
