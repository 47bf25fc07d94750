"""Options that many commands share, each declared once."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import IO, TYPE_CHECKING, Annotated, Any, Final

import typer
from typer._click.types import INT, FloatRange
from typer.core import TyperOption

from awa_cli.parser import completion
from awa_cli.terminal.formats import Shape, read_shape

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "TABLE", "Columns", "Common", "FailEmpty", "Output", "Redact", "Report", "ReportFormat",
    "common",
    "common_options",
]  # fmt: skip

COMMON_PANEL = "Options of every command"


@dataclass(slots=True)
class Common:
    """What the options of every command said, before or after the subcommand."""

    database_url: str | None = None
    context: str | None = None
    connect_timeout: float | None = None
    yes: bool = False
    verbose: int = 0
    quiet: bool = False
    no_color: bool = False
    no_pager: bool = False

    def color(self, stream: IO[str] | None = None) -> bool:
        """Say whether this stream (default stdout) takes colours."""
        stream = stream or sys.stdout
        return (
            not (self.no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb")
            and stream.isatty()
        )


class ReportFormat(StrEnum):
    """How a report is printed."""

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
        help="Hide values in args, metadata and progress whose key matches this regex.",
    ),
]
TABLE: Final = Shape()
FailEmpty = Annotated[
    bool, typer.Option("--fail-empty", help="Exit with status 5 if nothing matches.")
]


def common(ctx: typer.Context) -> Common:
    """Return the options of every command, as given so far."""
    return ctx.find_root().ensure_object(Common)


def _remember(field: str) -> Callable[..., Any]:
    def callback(ctx: typer.Context, param: Any, value: Any) -> None:
        if isinstance(value, str) and not value.strip() and not ctx.resilient_parsing:
            from awa_lib.errors import InvalidInput

            # Left unsaid it would be another database than the one that was meant.
            raise InvalidInput(
                f"{param.opts[0]} is empty",
                why="probably a variable that is not set",
                hint=f"write {param.opts[0]} {param.metavar}, or leave it out",
            )
        if value:
            setattr(common(ctx), field, value)

    return callback


def common_options() -> list[TyperOption]:
    """Make the options that every group and command takes."""
    return [
        _option(
            "database_url",
            ["--database-url"],
            "Database URL, or embedded:.  [env: DATABASE_URL]",
            metavar="URL",
        ),
        _option(
            "context",
            ["--context"],
            "Context of the config file to use.",
            metavar="NAME",
            autocompletion=lambda _ctx, _args, incomplete: completion.contexts(incomplete),
        ),
        _option(
            "connect_timeout",
            ["--connect-timeout"],
            "Time to wait for a connection; 5 by default.",
            metavar="SECONDS",
            type=FloatRange(min=1),
        ),
        _option(
            "yes",
            ["-y", "--yes"],
            "Answer yes to all questions, also in a protected context.",
            is_flag=True,
            default=False,
        ),
        _option(
            "verbose",
            ["-v", "--verbose"],
            "Print each SQL statement with its duration; -vv also tracebacks.",
            count=True,
            type=INT,
        ),
        _option(
            "quiet",
            ["-q", "--quiet"],
            "Print only data and errors.",
            is_flag=True,
            default=False,
        ),
        _option(
            "no_color",
            ["--no-color"],
            "Do not use colors.  [env: NO_COLOR]",
            is_flag=True,
            default=False,
        ),
        _option(
            "no_pager",
            ["--no-pager"],
            "Do not use a pager.  [env: AWA_PAGER, PAGER]",
            is_flag=True,
            default=False,
        ),
    ]


def _option(field: str, names: list[str], text: str, **more: Any) -> TyperOption:
    return TyperOption(
        param_decls=names,
        help=text,
        expose_value=False,
        callback=_remember(field),
        rich_help_panel=COMMON_PANEL,
        **more,
    )
