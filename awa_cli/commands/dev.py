"""``awa dev``: a local PostgreSQL server for development."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.invocation import common
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document
from awa_cli.terminal.prompts import agree

if TYPE_CHECKING:
    from awa_lib.embedded import ServerStatus

__all__ = ["app"]

app = typer.Typer(
    help="Run a local PostgreSQL server for development.",
    epilog="""
    awa dev up
    export DATABASE_URL=$(awa dev url)
    awa migrate
    """,
)

DataDir = Annotated[
    str | None,
    typer.Option(
        "--data-dir",
        "-D",
        metavar="PATH",
        help="Data directory; by default one directory per user.",
    ),
]


@app.command(
    epilog="""
    export DATABASE_URL=$(awa dev up)
    awa dev up --data-dir ./postgres
    """
)
def up(ctx: typer.Context, *, data_dir: DataDir = None) -> None:
    """Start the server, keep it running, and print its URL.

    If the server is running, only its URL is printed.  The first start creates an empty database,
    which takes about a second.
    """
    from awa_lib.embedded import acquire, status

    place = _place(ctx, data_dir)
    with acquire(place, keep_alive=True) as server:
        state = status(place)
        say(f"PostgreSQL {state.version} is running, with its data in {state.data_dir}")
        say("To stop it: awa dev down" + _flag(data_dir))
        result(server.url)


@app.command(
    epilog="""
    awa dev status
    awa dev status -o json | jq -r .running
    """
)
def status(
    ctx: typer.Context, *, data_dir: DataDir = None, output: Report = ReportFormat.table
) -> None:
    """Show whether the server runs, its data directory and its size.

    Does not start the server.
    """
    from awa_lib.embedded import status as read_status

    state = read_status(_place(ctx, data_dir))
    if output is ReportFormat.json:
        show_document(state)
    else:
        _show(state, color=common(ctx).color())


@app.command(epilog='psql "$(awa dev url)"')
def url(ctx: typer.Context, *, data_dir: DataDir = None) -> None:
    """Print the URL of the running server."""
    from awa_lib.embedded import status as read_status
    from awa_lib.errors import EmbeddedError

    state = read_status(_place(ctx, data_dir))
    if not state.running:
        raise EmbeddedError(
            f"the server in {str(state.data_dir)!r} is not running",
            hint="start it: awa dev up" + _flag(data_dir),
        )
    result(state.url)


@app.command(
    epilog="""
    awa dev psql
    awa dev psql -- -c 'TABLE awa.schema_version'
    """
)
def psql(
    ctx: typer.Context,
    args: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Arguments for psql.")
    ] = None,
    *,
    data_dir: DataDir = None,
) -> None:
    """Open psql on the server.

    If the server is not running, it runs until psql ends.
    """
    from awa_lib.embedded import acquire, find_binaries
    from awa_lib.errors import EmbeddedError

    server = acquire(_place(ctx, data_dir))
    program = find_binaries().program("psql")
    if not program.exists():
        server.release()
        raise EmbeddedError(
            "psql was not found beside the programs of the server",
            why=f"{str(program)!r} does not exist",
            hint='install it: pip install "awa-toolkit[embedded]"',
        )
    # psql replaces this process and inherits the lock that keeps the server running.
    server.pass_on()
    sys.stdout.flush()
    os.execv(program, ["psql", *(args or []), "-d", server.url])  # noqa: S606 - the program is ours


@app.command(epilog="awa dev down")
def down(ctx: typer.Context, *, data_dir: DataDir = None) -> None:
    """Stop the server, even while programs use it.

    The data is kept.
    """
    from awa_lib.embedded import status as read_status
    from awa_lib.embedded import stop

    place = _place(ctx, data_dir)
    if read_status(place).in_use:
        say("Other programs were using it; the next connection to embedded: starts it again.")
    result("Stopped." if stop(place) else "It was not running.")


@app.command(
    epilog="""
    awa dev reset
    awa dev reset --yes --data-dir ./postgres
    """
)
def reset(ctx: typer.Context, *, data_dir: DataDir = None) -> None:
    """Stop the server and delete all its data.

    Asks first; without a terminal it needs --yes.
    """
    from awa_lib.embedded import reset as delete
    from awa_lib.embedded import status as read_status

    place = _place(ctx, data_dir)
    state = read_status(place)
    if state.version is None:
        result("There is no data.")
        return
    if not common(ctx).yes:
        _ask(state, "awa dev reset --yes" + _flag(data_dir))
    delete(place)
    result(f"Deleted the data in {state.data_dir}")


def _ask(state: ServerStatus, command: str) -> None:
    from awa_lib.errors import InvalidInput

    if not sys.stdin.isatty():
        raise InvalidInput(
            f"the data in {str(state.data_dir)!r} was not deleted",
            why="stdin is not a terminal, so awa cannot ask",
            hint=f"to delete it without a question: {command}",
        )
    used = ", which programs are using now," if state.in_use else ""
    question = f"Delete {_size(state.size_bytes)} of data in {state.data_dir}{used} for good?"
    agree(question)


def _place(ctx: typer.Context, data_dir: str | None) -> str:
    """Return the embedded URL: from --data-dir, --database-url, DATABASE_URL, or the default."""
    from awa_lib.embedded import is_embedded
    from awa_lib.errors import InvalidInput

    if data_dir:
        return data_dir if is_embedded(data_dir) else f"embedded:{data_dir}"
    given = common(ctx).database_url
    if given and not is_embedded(given):
        raise InvalidInput(
            "awa dev works only with embedded servers",
            why="--database-url names another server",
            hint="leave it out, or use --data-dir PATH",
        )
    ambient = os.environ.get("DATABASE_URL", "")
    return given or (ambient if is_embedded(ambient) else "embedded:")


def _flag(data_dir: str | None) -> str:
    return f" --data-dir {shlex.quote(data_dir)}" if data_dir else ""


def _show(state: ServerStatus, *, color: bool) -> None:
    from awa_cli.terminal.colors import Paint

    paint = Paint(color=color)
    server = f"up, process {state.pid}" if state.running else "down"
    stays = "until awa dev down" if state.kept else "while it is used"
    rows = {
        "server": server,
        "stays up": stays if state.running else "-",
        "in use": "yes" if state.in_use else "no",
        "version": f"PostgreSQL {state.version}" if state.version else "no data yet",
        "data": str(state.data_dir),
        "size": _size(state.size_bytes),
        "url": state.url if state.running else "-",
    }
    for title, text in rows.items():
        result(f"{paint(f'{title:<10}', 'bold')}{text}")


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"
