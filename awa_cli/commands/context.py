"""``awa context``: named databases of the config file."""

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
    help="Manage named databases.",
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

CurrentOrNamed = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="Name of the context; the current context by default.",
        autocompletion=contexts,
    ),
]
Url = Annotated[
    str,
    typer.Argument(
        metavar="URL",
        help="Database URL without a password, or env:NAME, cmd:COMMAND, service:NAME.",
    ),
]
Password = Annotated[
    str | None,
    typer.Option(
        metavar="REF", help="Source of the password: env:NAME or cmd:COMMAND; ~/.pgpass by default."
    ),
]
Color = Annotated[
    str | None,
    typer.Option(
        metavar="COLOR",
        help="Color of the name: red, yellow, green, cyan, blue or magenta.",
    ),
]
Protected = Annotated[
    bool,
    typer.Option("--protected", help="Ask for the name of the context before each change."),
]
Use = Annotated[bool, typer.Option("--use", help="Make this context the current context.")]


def _row(config: Config, context: Context) -> ContextRow:
    from awa_cli.database.target import describe

    database = context.url
    if not database.startswith(("env:", "cmd:", "service:")):
        database = describe(database).label
    secret = context.password
    if secret is not None and not secret.startswith(("env:", "cmd:")):
        secret = "***"  # noqa: S105 - a placeholder
    return ContextRow(
        context.name,
        context.name == config.current,
        database,
        secret,
        context.color,
        context.protected,
    )


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
    url: Url,
    *,
    password: Password = None,
    color: Color = None,
    protected: Protected = False,
    use: Use = False,
) -> None:
    """Add a context to the config file, or replace the context of this name.

    The file does not store passwords.  It stores where to read them: an environment variable, the
    output of a command, or ~/.pgpass.
    """
    from awa_cli.database.config import Context, change_config

    _check(name, url, password, color)
    context = Context(name, url, password, color, protected)
    config = change_config(put=context, use=name if use else None)
    result(f"Saved context '{name}' in {config.path}")


def _check(name: str, url: str, password: str | None, color: str | None) -> None:
    """Raise InvalidInput for values that cannot be used, and for secrets."""
    from awa_cli.database.config import COLORS
    from awa_cli.database.target import describe
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import did_you_mean

    keep = f"awa context add {name} URL --password env:NAME (or cmd:COMMAND), or use ~/.pgpass"
    if not url.startswith(("env:", "cmd:", "service:")) and describe(url).secret:
        raise InvalidInput(
            "the URL contains a password",
            why="the config file must not contain secrets",
            hint=keep,
        )
    if password is not None and not password.startswith(("env:", "cmd:")):
        raise InvalidInput(
            "--password takes env:NAME or cmd:COMMAND, not the password",
            why="the config file must not contain secrets",
            hint=keep,
        )
    if color is not None and color not in COLORS:
        raise InvalidInput(
            f"unknown color: {color}",
            why=f"colors are {', '.join(COLORS)}",
            hint=did_you_mean(color, COLORS, "--color "),
        )


@app.command("list", epilog="awa context list")
def list_(ctx: typer.Context, *, output: Output = TABLE) -> None:
    """List the contexts of the config file."""
    from awa_cli.database.config import read_config
    from awa_cli.views.columns import CONTEXTS

    config = read_config()
    rows = [_row(config, one) for one in config.contexts.values()]
    empty = f"No contexts in {config.path}."
    show_rows(rows, CONTEXTS, output, common(ctx), empty=empty)


@app.command(epilog="awa context use staging")
def use(name: Name) -> None:
    """Set the current context.

    Commands use it when neither --database-url, --context nor DATABASE_URL names a database.
    """
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
    name: CurrentOrNamed = None,
    *,
    output: Report = ReportFormat.table,
) -> None:
    """Show one context; references to secrets are not resolved."""
    from awa_cli.database.config import read_config
    from awa_cli.documents.encoding import encode
    from awa_lib.errors import InvalidInput

    config = read_config()
    name = name or config.current
    if name is None:
        raise InvalidInput("there is no current context", hint="set one: awa context use NAME")
    row = _row(config, config.context(name))
    if output is ReportFormat.json:
        show_document(row)
    else:
        for field, value in encode(row).items():
            if value not in (None, False):
                result(f"{field:<10} {'yes' if value is True else value}")


@app.command(epilog="awa context remove staging")
def remove(name: Name) -> None:
    """Remove a context from the config file."""
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
    name: CurrentOrNamed = None,
) -> int:
    """Test the connection to a context.

    Exits with status 4 if the schema is not up to date.
    """
    from awa_cli.database.config import read_config
    from awa_cli.database.session import dial, served
    from awa_cli.database.target import of_context
    from awa_lib.db.drive import run
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.schema import read_schema

    config = read_config()
    name = name or config.current
    if name is None:
        raise InvalidInput("there is no current context", hint="set one: awa context use NAME")
    target = of_context(config.context(name))
    with served(target) as url, dial(target, url, seconds=common(ctx).connect_timeout) as conn:
        status = run(conn, read_schema())
        number = conn.info.server_version
        server = f"PostgreSQL {number // 10000}.{number % 10000}"
    result(f"Context '{name}' works: {target.label}, {server}")
    if not status.current:
        say("The schema is not up to date; see: awa migrate --check")
        return ExitCode.SCHEMA
    return ExitCode.OK
