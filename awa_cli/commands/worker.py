"""``awa worker``: run the job handlers of a program."""

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

Client = Annotated[
    str,
    typer.Argument(metavar="MODULE:CLIENT", help="Module, and the name of its AsyncClient."),
]
Queues = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=N]",
        help="Process this queue, at most N jobs at once; may be repeated.  "
        "By default all queues that the handlers declare.",
    ),
]
Concurrency = Annotated[
    int,
    typer.Option(metavar="N", min=1, help="Concurrent jobs of a queue that is given without =N."),
]
Processes = Annotated[
    int, typer.Option(metavar="N", min=1, help="Run N processes, and restart those that crash.")
]
Reload = Annotated[
    bool, typer.Option("--reload", help="Restart when a .py file changes, for development.")
]
DrainTimeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, help="Time that running jobs have to finish at the end."
    ),
]
RescueAfter = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=3,
        help="Age of a worker's last heartbeat at which its jobs run again elsewhere; the same "
        "for all workers.",
    ),
]
HealthPort = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS:]PORT",
        envvar="AWA_HEALTH_ADDR",
        help="Serve /healthz, /readyz and /metrics on this port.",
    ),
]


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
    client: Client,
    *,
    queue: Queues = None,
    concurrency: Concurrency = 10,
    processes: Processes = 1,
    reload: Reload = False,
    drain_timeout: DrainTimeout = 30.0,
    rescue_after: RescueAfter = 90.0,
    health_port: HealthPort = None,
) -> int:
    """Run the job handlers of a client until SIGTERM or Ctrl-C.

    At the signal no new jobs are started, and running jobs may finish.  A second signal ends the
    process at once; other workers rescue its jobs.
    """
    from awa_cli.filters.values import read_queue
    from awa_cli.worker.supervised import stop_with_parent

    pairs = [read_queue(text) for text in queue or ()]
    if processes > 1 or reload:
        _refuse_port(health_port)
        return _supervise(
            ctx,
            client,
            queues=queue or [],
            concurrency=concurrency,
            processes=processes,
            drain_timeout=drain_timeout,
            rescue_after=rescue_after,
            reload=reload,
        )
    # Before the module is imported, because its import may hang.
    stop_with_parent(drain_timeout)
    loaded = _load(ctx, client)
    with _probes(loaded, health_port):
        _run(loaded, _queues(loaded, pairs, concurrency), drain_timeout, rescue_after)
    return 0


def _load(ctx: typer.Context, place: str) -> AsyncClient:
    """Load the client, and check that it uses the database of the command line."""
    from awa_cli.database.target import named_target
    from awa_cli.worker.loader import load_client
    from awa_cli.worker.logs import set_up

    target = named_target(common(ctx))
    url = target.full_url if target else None
    if url:
        # The module creates the client and reads the URL from here.
        os.environ["DATABASE_URL"] = url
    client = load_client(place)
    _name_database(client, url)
    set_up(verbose=common(ctx).verbose)
    return client


def _refuse_port(health_port: str | None) -> None:
    from awa_lib.errors import InvalidInput

    if health_port is not None:
        raise InvalidInput(
            "--health-port cannot be used with several processes",
            why="several processes cannot answer on one port",
            hint="run one process per container, or leave --processes and --reload out",
        )


@contextmanager
def _probes(client: AsyncClient, health_port: str | None) -> Iterator[None]:
    if health_port is None:
        yield
        return
    from awa_cli.addresses import bracketed
    from awa_cli.commands._extras import need_serve
    from awa_cli.terminal.output import say

    need_serve("--health-port")
    from awa_cli.web.probe import observed, read_address

    host, port = read_address(health_port)
    url = client._database_url  # noqa: SLF001 - awa 0.5 has no public name for it
    with observed(client, url, host, port) as bound:
        say(f"health: http://{bracketed(host)}:{bound}/readyz")
        yield


def _name_database(client: AsyncClient, url: str | None) -> None:
    """Print which database the client uses; refuse another than that of --database-url."""
    from awa_cli.database.target import describe
    from awa_cli.terminal.output import say
    from awa_lib.errors import InvalidInput

    used = describe(client._database_url)  # noqa: SLF001 - as in _probes
    if url and client._database_url != url:  # noqa: SLF001 - as in _probes
        raise InvalidInput(
            f"the client uses {used.label}, not the database of the command line",
            why="its module does not read the URL from DATABASE_URL",
            hint='create it as AsyncClient(os.environ["DATABASE_URL"]), or leave the option out',
        )
    say(f"database: {used.label}")


def _queues(
    client: AsyncClient, pairs: Sequence[tuple[str, int | None]], concurrency: int
) -> list[tuple[str, int]]:
    """Return the queues with their concurrency.

    Raises InvalidInput for a queue without a handler, which is probably a typing error.
    """
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import did_you_mean

    declared = client._handlers.queues  # noqa: SLF001 - awa 0.5 has no public name for it
    for name, _ in pairs:
        if name not in declared:
            raise InvalidInput(
                f"no handler declares the queue {name!r}",
                why=f"the client's queues are {', '.join(declared)}",
                hint=did_you_mean(name, declared, "--queue ") or "use one of these queues",
            )
    names = pairs or [(name, None) for name in declared]
    return [(name, number or concurrency) for name, number in names]


def _run(
    client: AsyncClient, queues: list[tuple[str, int]], drain_timeout: float, rescue_after: float
) -> None:
    from awa_cli.worker.supervised import tell_ready
    from awa_lib.errors import InvalidInput
    from awa_lib.runtime.run import run

    try:
        run(
            client,
            queues or None,
            drain_timeout=drain_timeout,
            partial=True,
            on_ready=tell_ready,
            heartbeat_staleness_ms=rescue_after * 1000,
        )
    except ValueError as error:
        # start() raises ValueError for its arguments, as in awa 0.5.
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(str(error), hint="see awa worker --help") from error


def _supervise(
    ctx: typer.Context,
    place: str,
    *,
    queues: Sequence[str],
    concurrency: int,
    processes: int,
    drain_timeout: float,
    rescue_after: float,
    reload: bool,
) -> int:
    from awa_cli.database.target import named_target
    from awa_cli.worker.supervisor import Supervisor, child_argv
    from awa_lib.errors import InvalidInput

    if reload and processes > 1:
        raise InvalidInput(
            "--reload and --processes cannot be used together",
            why="--reload is for development, where one process is enough",
            hint="leave one of them out",
        )
    said = common(ctx)
    arguments: list[Any] = ["worker", place, "--concurrency", concurrency]
    arguments += ["--drain-timeout", drain_timeout, "--rescue-after", rescue_after]
    arguments += [f"--queue={name}" for name in queues]
    arguments += ["-v"] * said.verbose + ["--no-color"] * said.no_color
    if (target := named_target(common(ctx))) is not None:
        # In the environment, because other users of the machine can read a command line.
        os.environ["DATABASE_URL"] = target.full_url
    argv = child_argv([str(argument) for argument in arguments])
    watch = Path.cwd() if reload else None
    return Supervisor(argv, processes, watch=watch, drain_seconds=drain_timeout).run()
