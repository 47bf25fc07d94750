"""Options that many commands share, each declared once."""

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
    "TABLE", "Columns", "FailEmpty", "Output", "Redact", "Report", "ReportFormat",
    "common_options",
]  # fmt: skip

COMMON_PANEL = "Options of every command"


class ReportFormat(StrEnum):
    """How a report is printed."""

    table = "table"
    json = "json"


Report = Annotated[
    ReportFormat,
    typer.Option("--output", "-o", help="table for people, json for scripts.", metavar="FORMAT"),
]
Output = Annotated[
    Shape,
    typer.Option(
        "--output",
        "-o",
        help="table, wide, json, ndjson, yaml, csv, ids, or template='{field}'.",
        metavar="FORMAT",
        parser=read_shape,
        autocompletion=completion.formats,
        show_default="table",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="FIELDS", help="Fields of the table or the csv, as in json: id,kind,args.to."
    ),
]
Redact = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        envvar="AWA_REDACT",
        help="Hide values in args, metadata and progress whose key this is found in.",
    ),
]
TABLE: Final = Shape()
FailEmpty = Annotated[
    bool, typer.Option("--fail-empty", help="Exit with status 5 when nothing matches.")
]


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
            "The database, or embedded:.  [env: DATABASE_URL]",
            metavar="URL",
        ),
        _option(
            "context",
            ["--context"],
            "A database of the config file, by name.",
            metavar="NAME",
            autocompletion=lambda _ctx, _args, incomplete: completion.contexts(incomplete),
        ),
        _option(
            "connect_timeout",
            ["--connect-timeout"],
            "Give up connecting after so long; 5 by default.",
            metavar="SECONDS",
            type=FloatRange(min=1),
        ),
        _option(
            "yes",
            ["-y", "--yes"],
            "Do not ask, not even on a protected context.",
            is_flag=True,
            default=False,
        ),
        _option(
            "verbose",
            ["-v", "--verbose"],
            "Show each SQL statement with its time; -vv the traceback too.",
            count=True,
            type=INT,
        ),
        _option(
            "quiet",
            ["-q", "--quiet"],
            "Only data and errors: no remarks, no progress.",
            is_flag=True,
            default=False,
        ),
        _option(
            "no_color", ["--no-color"], "Plain text.  [env: NO_COLOR]", is_flag=True, default=False
        ),
        _option(
            "no_pager",
            ["--no-pager"],
            "Print long pages and tables at once.  [env: AWA_PAGER, PAGER]",
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
