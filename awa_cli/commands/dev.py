"""``awa dev``: a PostgreSQL of one's own that stays up while one develops."""

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
    help="Run a PostgreSQL of your own, without installing or configuring one.",
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
        help="Where its data is; without it the one place of this user.",
    ),
]


@app.command(
    epilog="""
    export DATABASE_URL=$(awa dev up)
    awa dev up --data-dir ./postgres
    """
)
def up(ctx: typer.Context, data_dir: DataDir = None) -> None:
    """Start the server and keep it up; harmless when it is.

    Prints its URL.
    The first start makes an empty database, which takes about a second.
    """
    from awa_lib.embedded import acquire, status

    place = _place(ctx, data_dir)
    with acquire(place, keep_alive=True) as server:
        state = status(place)
        say(f"PostgreSQL {state.version} is up, data in {state.data_dir}")
        say("it stays up until: awa dev down" + _flag(data_dir))
        result(server.url)


@app.command(
    epilog="""
    awa dev status
    awa dev status -o json | jq -r .running
    """
)
def status(
    ctx: typer.Context, data_dir: DataDir = None, output: Report = ReportFormat.table
) -> None:
    """Show whether it runs, where its data is and how large.  Starts nothing."""
    from awa_lib.embedded import status as look

    state = look(_place(ctx, data_dir))
    if output is ReportFormat.json:
        show_document(state)
    else:
        _show(state, color=common(ctx).color())


@app.command(epilog='psql "$(awa dev url)"')
def url(ctx: typer.Context, data_dir: DataDir = None) -> None:
    """Print the URL of the running server, for DATABASE_URL and other programs."""
    from awa_lib.embedded import status as look
    from awa_lib.errors import EmbeddedError

    state = look(_place(ctx, data_dir))
    if not state.running:
        raise EmbeddedError(
            f"the server in {str(state.data_dir)!r} is not up",
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
        list[str] | None, typer.Argument(metavar="[-- ARGS]", help="Passed to psql as they are.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Open psql on it; a server that is down is up until psql ends."""
    from awa_lib.embedded import acquire, find_binaries
    from awa_lib.errors import EmbeddedError

    server = acquire(_place(ctx, data_dir))
    program = find_binaries().program("psql")
    if not program.exists():
        server.release()
        raise EmbeddedError(
            "there is no psql beside the server's programs",
            why=f"{str(program)!r} does not exist",
            hint='install it: pip install "awa-toolkit[embedded]"',
        )
    # psql takes this process over, and with it the share that keeps the server up.
    server.pass_on()
    sys.stdout.flush()
    os.execv(program, ["psql", *(args or []), "-d", server.url])  # noqa: S606 - ours to become


@app.command(epilog="awa dev down")
def down(ctx: typer.Context, data_dir: DataDir = None) -> None:
    """Stop it, also when programs still use it; the data stays."""
    from awa_lib.embedded import status as look
    from awa_lib.embedded import stop

    place = _place(ctx, data_dir)
    if look(place).in_use:
        say("other programs were using it; the next to connect by embedded: starts it again")
    result("Stopped." if stop(place) else "It was not up.")


@app.command(
    epilog="""
    awa dev reset
    awa dev reset --yes --data-dir ./postgres
    """
)
def reset(ctx: typer.Context, data_dir: DataDir = None) -> None:
    """Stop it and delete all its data.

    Asks first.
    Without a terminal it does nothing unless --yes is given.
    """
    from awa_lib.embedded import reset as delete
    from awa_lib.embedded import status as look

    place = _place(ctx, data_dir)
    state = look(place)
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
            why="there is no terminal to ask at",
            hint=f"say that you mean it: {command}",
        )
    used = ", which programs are using now," if state.in_use else ""
    question = f"Delete {_size(state.size_bytes)} of data in {state.data_dir}{used} for good?"
    agree(question)


def _place(ctx: typer.Context, data_dir: str | None) -> str:
    """Return the embedded URL meant: of the option, of --database-url, of DATABASE_URL, or ours."""
    from awa_lib.embedded import is_embedded
    from awa_lib.errors import InvalidInput

    if data_dir:
        return data_dir if is_embedded(data_dir) else f"embedded:{data_dir}"
    given = common(ctx).database_url
    if given and not is_embedded(given):
        raise InvalidInput(
            "awa dev works on embedded servers only",
            why="--database-url names another server",
            hint="leave it out, or name a directory: --data-dir PATH",
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
