"""``awa worker``: run the job handlers of a program."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.invocation import common
from awa_cli.parser.options import LogFormat, LogFormatOption
from awa_cli.parser.worker_options import tuning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from awa_lib.client.clients import AsyncClient

__all__ = ["app"]

_PORTS: Final = 2**16

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
        "By default all queues of the client and of its handlers.",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Concurrent jobs of a queue that is given without =N; by default as the client "
        "declares it, or 10.",
    ),
]
CaptureLogs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="QUEUE",
        help="Keep what the jobs of this queue log, for awa job logs; may be repeated.",
    ),
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
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=3,
        help="Age of this worker's last heartbeat at which its jobs run again elsewhere; 10 by "
        "default, or three times --heartbeat-interval.",
    ),
]
HealthPort = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS:]PORT",
        envvar="AWA_HEALTH_ADDR",
        help="Serve /healthz, /readyz and /metrics on this port; process 2 on the next, and so on.",
    ),
]


@app.command(
    epilog="""
    awa worker myapp.jobs:client
    awa worker myapp.jobs:client --queue email=20 --queue default
    awa worker myapp.jobs:client --processes 4
    awa worker myapp.jobs:client --reload
    AWA_APP_VERSION=1.4 awa worker myapp.jobs:client
    awa worker myapp.jobs:client --log-format json --health-port 8080
    """
)
@tuning
def worker(
    ctx: typer.Context,
    client: Client,
    *,
    queue: Queues = None,
    concurrency: Concurrency = None,
    capture_logs: CaptureLogs = None,
    processes: Processes = 1,
    reload: Reload = False,
    drain_timeout: DrainTimeout = 30.0,
    rescue_after: RescueAfter = None,
    health_port: HealthPort = None,
    log_format: LogFormatOption = LogFormat.text,  # noqa: ARG001 - its callback has acted on it
    options: dict[str, Any],
) -> int:
    """Run the job handlers of a client until SIGTERM or Ctrl-C.

    At the signal no new jobs are started, and running jobs may finish.  A second signal ends the
    process at once; other workers rescue its jobs.  If DJANGO_SETTINGS_MODULE is set, Django is set
    up before the module is imported.
    """
    from awa_cli.filters.values import read_queue
    from awa_cli.worker.supervised import stop_with_parent

    pairs = [read_queue(text) for text in queue or ()]
    if processes > 1 or reload:
        _check_ports(health_port, processes)
        return _supervise(ctx, processes=processes, drain_timeout=drain_timeout, reload=reload)
    # Before the module is imported, because its import may hang.
    stop_with_parent(drain_timeout)
    loaded = _load(ctx, client)
    with _probes(loaded, health_port):
        weighted = "global_max_workers" in options
        queues = _queues(loaded, pairs, concurrency, weighted=weighted)
        _capture(queues, capture_logs or [])
        if rescue_after is not None:
            options["heartbeat_staleness_ms"] = rescue_after * 1000
        _run(loaded, queues, drain_timeout, options)
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


def _check_ports(health_port: str | None, processes: int) -> None:
    """Check that there is a port for each process, before they are started."""
    from awa_cli.commands._extras import need_serve
    from awa_lib.errors import InvalidInput

    if health_port is None:
        return
    need_serve("--health-port")
    from awa_cli.web.probe import read_address

    _, port = read_address(health_port)
    if port + processes > _PORTS:
        raise InvalidInput(
            f"--health-port {health_port} leaves no port for each of {processes} processes",
            why="each process answers on the port after that of the process before it",
            hint=f"use a port up to {_PORTS - processes}",
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
    from awa_cli.worker.supervised import take_number

    host, port = read_address(health_port)
    port += take_number() - 1 if port else 0
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
    client: AsyncClient,
    pairs: Sequence[tuple[str, int | None]],
    concurrency: int | None,
    *,
    weighted: bool,
) -> list[dict[str, Any]]:
    """Return the queues with what the command line says of them.

    Raises InvalidInput for a queue that neither the client nor a handler declares, which is
    probably a typing error.
    """
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import did_you_mean

    declared = client._queues  # noqa: SLF001 - the public API does not list them
    known = list(dict.fromkeys((*declared, *client._handlers.queues)))  # noqa: SLF001 - as above
    queues = []
    for name, number in pairs or [(name, None) for name in known]:
        if name not in known:
            raise InvalidInput(
                f"no handler declares the queue {name!r}",
                why=f"the client's queues are {', '.join(known)}",
                hint=did_you_mean(name, known, "--queue ") or "use one of these queues",
            )
        if weighted and (number or concurrency):
            raise InvalidInput(
                "--global-max-workers cannot be used with --concurrency or --queue NAME=N",
                why="all queues share these slots by their weights",
                hint=f"declare them: client.queue({name!r}, min_workers=2, weight=3)",
            )
        slots = number or concurrency or (None if name in declared or weighted else 10)
        queues.append({"name": name} | ({"max_workers": slots} if slots else {}))
    return queues


def _capture(queues: list[dict[str, Any]], names: list[str]) -> None:
    """Turn on the logs of queues.  Raises InvalidInput for a queue that is not worked."""
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import did_you_mean

    worked = {queue["name"]: queue for queue in queues}
    for name in names:
        if name not in worked:
            raise InvalidInput(
                f"--capture-logs {name!r} is no queue of this worker",
                why=f"it works {', '.join(worked)}",
                hint=did_you_mean(name, worked, "--capture-logs ") or "use one of these queues",
            )
        worked[name]["capture_logs"] = True


def _run(
    client: AsyncClient,
    queues: list[dict[str, Any]],
    drain_timeout: float,
    options: dict[str, Any],
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
            **options,
        )
    except ValueError as error:
        # start() raises ValueError for its arguments, as in awa 0.5.
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput(str(error), hint="see awa worker --help") from error


def _supervise(ctx: typer.Context, *, processes: int, drain_timeout: float, reload: bool) -> int:
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
    arguments = ["worker", *_given(ctx)]
    arguments += ["-v"] * said.verbose + ["--no-color"] * said.no_color + ["-q"] * said.quiet
    if (target := named_target(common(ctx))) is not None:
        # In the environment, because other users of the machine can read a command line.
        os.environ["DATABASE_URL"] = target.full_url
    argv = child_argv(arguments)
    watch = Path.cwd() if reload else None
    return Supervisor(argv, processes, watch=watch, drain_seconds=drain_timeout).run()


def _given(ctx: typer.Context) -> list[str]:
    """Return the command line of one process: what was given, without the common options."""
    words = []
    for param in ctx.command.params:
        name = param.name or ""
        source = ctx.get_parameter_source(name)
        if name in {"processes", "reload"} or source is None or source.name != "COMMANDLINE":
            continue
        value = ctx.params.get(name)
        if param.param_type_name == "argument":
            words.append(str(value))
        elif isinstance(value, bool):
            words.append((param.opts if value else param.secondary_opts)[0])
        elif value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            words += [f"{param.opts[0]}={one}" for one in values]
    return words
