"""``awa context``: databases by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.documents.reports import ContextRow
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.completion import contexts
from awa_cli.parser.options import TABLE, Output, Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document, show_rows

if TYPE_CHECKING:
    from awa_cli.database.config import Config, Context

__all__ = ["app"]

app = typer.Typer(
    help="Name databases, choose one, and protect those that matter.",
    epilog="""
    awa context add staging postgresql://app@db.staging/app
    awa context add prod env:PROD_URL --color red --protected
    awa context use staging
    awa job list --context prod
    """,
)

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the context.", autocompletion=contexts)
]


def _row(config: Config, context: Context) -> ContextRow:
    from awa_cli.database.target import describe

    database = context.url
    if not database.startswith(("env:", "cmd:", "service:")):
        database = describe(database).label
    secret = context.password
    if secret is not None and not secret.startswith(("env:", "cmd:")):
        secret = "***"  # noqa: S105 - stands for one
    return ContextRow(
        context.name, context.name == config.current, database, secret, context.color,
        context.protected,
    )  # fmt: skip


@app.command(
    epilog="""
    awa context add local embedded: --use
    awa context add staging postgresql://app@db.staging/app --password env:STAGING_PASSWORD
    awa context add prod 'cmd:pass show awa/prod' --color red --protected
    awa context add reports service:reports
    """
)
def add(
    name: Name,
    url: Annotated[
        str,
        typer.Argument(
            metavar="URL",
            help="Database URL without password, or env:NAME, cmd:COMMAND, service:NAME.",
        ),
    ],
    password: Annotated[
        str | None,
        typer.Option(metavar="REF", help="env:NAME or cmd:COMMAND; else ~/.pgpass is asked."),
    ] = None,
    color: Annotated[
        str | None,
        typer.Option(metavar="COLOR", help="red, yellow, green, cyan, blue or magenta."),
    ] = None,
    protected: Annotated[
        bool, typer.Option("--protected", help="Ask for the name before each change.")
    ] = False,
    use: Annotated[bool, typer.Option("--use", help="Make it the current one too.")] = False,
) -> None:
    """Add a context to the config file, or replace the one with this name.

    No secret is written: a password is asked for where it is kept.
    """
    from awa_cli.database.config import Context, change_config

    _check(name, url, password, color)
    context = Context(name, url, password, color, protected)
    config = change_config(put=context, use=name if use else None)
    result(f"Saved context '{name}' in {config.path}")


def _check(name: str, url: str, password: str | None, color: str | None) -> None:
    """Refuse what could not be used, and secrets."""
    from difflib import get_close_matches

    from awa_cli.database.config import COLORS
    from awa_cli.database.target import describe
    from awa_lib.errors import InvalidInput

    keep = f"awa context add {name} URL --password env:NAME (or cmd:COMMAND), or use ~/.pgpass"
    if not url.startswith(("env:", "cmd:", "service:")) and describe(url).secret:
        raise InvalidInput(
            "the URL holds a password", why="the config file is no place for a secret", hint=keep
        )
    if password is not None and not password.startswith(("env:", "cmd:")):
        raise InvalidInput(
            "--password takes a reference, not the password itself",
            why="the config file is no place for a secret",
            hint=keep,
        )
    if color is not None and color not in COLORS:
        close = get_close_matches(color, COLORS, n=1)
        raise InvalidInput(
            f"unknown color: {color}",
            why=f"colors are {', '.join(COLORS)}",
            hint=f"did you mean: --color {close[0]}" if close else None,
        )


@app.command("list", epilog="awa context list")
def list_(ctx: typer.Context, output: Output = TABLE) -> None:
    """List the contexts of the config file."""
    from awa_cli.database.config import read_config
    from awa_cli.views.columns import CONTEXTS

    config = read_config()
    rows = [_row(config, one) for one in config.contexts.values()]
    empty = f"No contexts in {config.path}."
    show_rows(rows, CONTEXTS, output, common(ctx), empty=empty)


@app.command(epilog="awa context use staging")
def use(name: Name) -> None:
    """Make a context the one that commands use when no database is named."""
    from awa_cli.database.config import change_config, read_config

    read_config().context(name)
    change_config(use=name)
    result(f"Current context is '{name}'")


@app.command(
    epilog="""
    awa context show
    awa context show prod -o json
    """
)
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The current one when left out.", autocompletion=contexts
        ),
    ] = None,
    output: Report = ReportFormat.table,
) -> None:
    """Show one context; secrets are not followed."""
    from awa_cli.database.config import read_config
    from awa_cli.documents.encoding import encode
    from awa_lib.errors import InvalidInput

    config = read_config()
    name = name or config.current
    if name is None:
        raise InvalidInput("no context is current", hint="choose one: awa context use NAME")
    row = _row(config, config.context(name))
    if output is ReportFormat.json:
        show_document(row)
    else:
        for field, value in encode(row).items():
            if value not in (None, False):
                result(f"{field:<10} {'yes' if value is True else value}")


@app.command(epilog="awa context remove staging")
def remove(name: Name) -> None:
    """Take a context out of the config file."""
    from awa_cli.database.config import change_config, read_config

    read_config().context(name)
    config = change_config(remove=name)
    result(f"Removed context '{name}' from {config.path}")


@app.command(
    "test",
    epilog="""
    awa context test
    awa context test prod
    """,
)
def check(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="The current one when left out.", autocompletion=contexts
        ),
    ] = None,
) -> int:
    """Connect to a context and say what is there: server, user, schema."""
    from awa_cli.database.config import read_config
    from awa_cli.database.session import dial, served
    from awa_cli.database.target import of_context
    from awa_lib.db.drive import run
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.schema import read_schema

    config = read_config()
    name = name or config.current
    if name is None:
        raise InvalidInput("no context is current", hint="choose one: awa context use NAME")
    target = of_context(config.context(name))
    with served(target) as url, dial(target, url, seconds=common(ctx).connect_timeout) as conn:
        status = run(conn, read_schema())
        number = conn.info.server_version
        server = f"PostgreSQL {number // 10000}.{number % 10000}"
    result(f"Context '{name}' works: {target.label}, {server}")
    if not status.current:
        say("The schema is not up to date: awa migrate --check")
        return ExitCode.SCHEMA
    return ExitCode.OK
