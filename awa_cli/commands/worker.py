"""``awa worker``: run the handlers of a program."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.invocation import common

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from awa_lib.client.clients import AsyncClient

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="""
    awa worker myapp.jobs:client
    awa worker myapp.jobs:client --queue email=20 --queue default
    awa worker myapp.jobs:client --processes 4
    awa worker myapp.jobs:client --reload
    """
)
def worker(
    ctx: typer.Context,
    client: Annotated[
        str, typer.Argument(metavar="MODULE:CLIENT", help="An AsyncClient in a module.")
    ],
    queue: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=N]",
            help="Work this queue, N jobs at once; may be given again.  "
            "By default all queues the handlers were declared for.",
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(metavar="N", min=1, help="Jobs at once of a queue given without =N.")
    ] = 10,
    processes: Annotated[
        int, typer.Option(metavar="N", min=1, help="Run N processes, and restart any that crash.")
    ] = 1,
    reload: Annotated[
        bool, typer.Option("--reload", help="For development: restart when a .py file changes.")
    ] = False,
    drain_timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="How long running jobs may go on at the end."),
    ] = 30.0,
    health_port: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS:]PORT",
            envvar="AWA_HEALTH_ADDR",
            help="Answer /healthz, /readyz and /metrics there.",
        ),
    ] = None,
) -> int:
    """Run the handlers registered on a client, until SIGTERM or Ctrl-C.

    Then no more jobs are started and the running ones may finish.
    A second signal ends the process at once; the jobs it was running are rescued by other workers.
    """
    from awa_cli.filters.values import read_queue

    pairs = [read_queue(text) for text in queue or []]
    if processes > 1 or reload:
        _refuse_port(health_port)
        return _supervise(ctx, client, queue or [], concurrency, processes, drain_timeout, reload)
    _work(ctx, client, pairs, concurrency, drain_timeout, health_port)
    return 0


def _work(
    ctx: typer.Context,
    place: str,
    pairs: Sequence[tuple[str, int | None]],
    concurrency: int,
    drain_timeout: float,
    health_port: str | None,
) -> None:
    from awa_cli.database.target import named_target
    from awa_cli.worker.loader import load_client
    from awa_cli.worker.logs import set_up
    from awa_cli.worker.supervised import stop_with_parent

    target = named_target(common(ctx))
    url = target.full_url if target else None
    if url:
        # The module makes the client; this is how it learns what the command line said.
        os.environ["DATABASE_URL"] = url
    # First, because a module may hang when it is imported.
    stop_with_parent(drain_timeout)
    client = load_client(place)
    _name_database(client, url)
    set_up(verbose=common(ctx).verbose)
    with _probes(client, health_port):
        _run(client, _queues(client, pairs, concurrency), drain_timeout)


def _refuse_port(health_port: str | None) -> None:
    from awa_lib.errors import InvalidInput

    if health_port is not None:
        raise InvalidInput(
            "--health-port goes with one process",
            why="several processes cannot answer on one port",
            hint="run one process a container, or leave --processes and --reload out",
        )


@contextmanager
def _probes(client: AsyncClient, health_port: str | None) -> Iterator[None]:
    if health_port is None:
        yield
        return
    from awa_cli.commands._extras import need_serve
    from awa_cli.terminal.output import say

    need_serve("--health-port")
    from awa_cli.web.probe import observed, read_address

    host, port = read_address(health_port)
    url = client._database_url  # noqa: SLF001 - as below
    with observed(client, url, host, port) as bound:
        say(f"health: http://{host}:{bound}/readyz")
        yield


def _name_database(client: AsyncClient, url: str | None) -> None:
    """Say which database the client uses; refuse when --database-url named another."""
    from awa_cli.database.target import describe
    from awa_cli.terminal.output import say
    from awa_lib.errors import InvalidInput

    used = describe(client._database_url)  # noqa: SLF001 - the published client does not tell it
    if url and client._database_url != url:  # noqa: SLF001 - as above
        raise InvalidInput(
            f"the client works on {used.label}, not on the database of the command line",
            why="its module does not take the URL from DATABASE_URL",
            hint='write it as AsyncClient(os.environ["DATABASE_URL"]), or leave the option out',
        )
    say(f"database: {used.label}")


def _queues(
    client: AsyncClient, pairs: Sequence[tuple[str, int | None]], concurrency: int
) -> list[tuple[str, int]]:
    """Return what to work; a queue that no handler was declared for is most likely a typo."""
    from difflib import get_close_matches

    from awa_lib.errors import InvalidInput

    declared = client._handlers.queues  # noqa: SLF001 - the published client does not list them
    for name, _ in pairs:
        if name not in declared:
            near = get_close_matches(name, declared, n=1)
            raise InvalidInput(
                f"no handler was declared for queue {name!r}",
                why=f"the client's queues are {', '.join(declared)}",
                hint=f"did you mean --queue {near[0]}?" if near else "choose one of these",
            )
    names = pairs or [(name, None) for name in declared]
    return [(name, number or concurrency) for name, number in names]


def _run(client: AsyncClient, queues: list[tuple[str, int]], drain_timeout: float) -> None:
    from awa_cli.worker.supervised import tell_ready
    from awa_lib.errors import InvalidInput
    from awa_lib.runtime.run import run

    try:
        run(client, queues or None, drain_timeout=drain_timeout, partial=True, on_ready=tell_ready)
    except ValueError as error:
        # How start() refuses its arguments, as published.
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(str(error), hint="see awa worker --help") from error


def _supervise(
    ctx: typer.Context,
    place: str,
    queues: Sequence[str],
    concurrency: int,
    processes: int,
    drain_timeout: float,
    reload: bool,
) -> int:
    from awa_cli.database.target import named_target
    from awa_cli.worker.supervisor import Supervisor, child_argv
    from awa_lib.errors import InvalidInput

    if reload and processes > 1:
        raise InvalidInput(
            "--reload and --processes exclude each other",
            why="--reload is for development, where one process is enough",
            hint="leave one of them out",
        )
    said = common(ctx)
    arguments: list[Any] = ["worker", place, "--concurrency", concurrency]
    arguments += ["--drain-timeout", drain_timeout]
    arguments += [f"--queue={name}" for name in queues]
    arguments += ["-v"] * said.verbose + ["--no-color"] * said.no_color
    if (target := named_target(common(ctx))) is not None:
        # By environment, because other users of the machine can read a command line.
        os.environ["DATABASE_URL"] = target.full_url
    argv = child_argv([str(argument) for argument in arguments])
    watch = Path.cwd() if reload else None
    return Supervisor(argv, processes, watch=watch, drain_seconds=drain_timeout).run()
