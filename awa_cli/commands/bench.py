"""``awa bench``: measure a database."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.invocation import common
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, say, show_document

if TYPE_CHECKING:
    from psycopg import Connection

    from awa_cli.bench.report import BenchReport, Latency, Rate

__all__ = ["app"]

app = typer.Typer()

Jobs = Annotated[
    int,
    typer.Option(metavar="N", min=10, max=10_000_000, help="Number of jobs to enqueue and drain."),
]
Duration = Annotated[
    str, typer.Option(metavar="DURATION", help="Time to measure the pickup latency.")
]
Processes = Annotated[
    int, typer.Option(metavar="N", min=1, max=64, help="Number of worker processes.")
]
Concurrency = Annotated[
    int, typer.Option(metavar="N", min=1, max=10_000, help="Concurrent jobs per process.")
]

_MIN_SECONDS = 0.1


@app.command(
    epilog="""
    awa bench
    awa bench --jobs 50000 --processes 2 --concurrency 200
    awa bench --context staging -o json > bench.json
    """
)
def bench(
    ctx: typer.Context,
    *,
    jobs: Jobs = 10_000,
    duration: Duration = "5s",
    processes: Processes = 1,
    concurrency: Concurrency = 100,
    output: Report = ReportFormat.table,
) -> None:
    """Measure the throughput of enqueueing and draining, and the pickup latency of jobs.

    The benchmark puts load on the database for several seconds.  It uses its own queue, does not
    touch other jobs, and deletes its jobs at the end, also after Ctrl-C.  The jobs do nothing;
    producer and workers run on this machine.
    """
    from awa_cli.bench.measure import Bench
    from awa_cli.bench.report import Plan
    from awa_cli.database.session import dial, served
    from awa_cli.database.target import find_target
    from awa_cli.filters.values import read_duration
    from awa_cli.terminal.prompts import permit
    from awa_lib.errors import InvalidInput

    seconds = read_duration(duration, "--duration").total_seconds()
    if seconds < _MIN_SECONDS:
        raise InvalidInput(f"--duration {duration!r} is too short", hint="use at least 100ms")
    target = find_target(common(ctx))
    say(f"database: {target.title(color=common(ctx).color(sys.stderr))}")
    permit(ctx, target)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    plan = Plan(target.label, jobs, seconds, processes, concurrency)
    with served(target) as url:

        def connect() -> Connection[Any]:
            return dial(target, url, seconds=common(ctx).connect_timeout)

        workers = url if target.url.startswith("embedded:") else target.full_url
        with Bench(plan, workers, connect) as run:
            found = run.run()
    if output is ReportFormat.json:
        show_document(found)
    else:
        _show(found)


def _show(found: BenchReport) -> None:
    """Print the results and the environment they depend on."""
    plan, here, server = found.plan, found.machine, found.server
    workers = "1 process" if plan.processes == 1 else f"{plan.processes} processes"
    settings = [f"{name} {server[name]}" for name in ("fsync", "synchronous_commit")]
    if server["synchronous_standby_names"]:
        settings.append(f"synchronous_standby_names {server['synchronous_standby_names']}")
    result(f"server      PostgreSQL {server['server_version']}, {', '.join(settings)}")
    result(
        f"here        {here.cpus} CPUs, {here.memory_bytes / 2**30:.0f} GiB, Python {here.python}, "
        f"awa {here.awa}, psycopg {here.psycopg}{', uvloop' if here.uvloop else ''}"
    )
    result(f"round trip  {_milliseconds(found.round_trip)}")
    result("")
    result(f"enqueue     {_per_second(found.enqueue_single)}, a commit for each")
    result(f"enqueue     {_per_second(found.enqueue_bulk)}, a commit for each thousand")
    result(f"drain       {_per_second(found.drain)}, {workers}, {plan.concurrency} at once in each")
    result(f"pickup      {_milliseconds(found.pickup)}")


def _per_second(rate: Rate) -> str:
    return f"{rate.jobs_per_second:>9,.0f} jobs/s  {rate.jobs:,} jobs in {rate.seconds:.2f} s"


def _milliseconds(one: Latency) -> str:
    return (
        f"p50 {one.p50_ms:.2f} ms, p95 {one.p95_ms:.2f} ms, p99 {one.p99_ms:.2f} ms, "
        f"most {one.max_ms:.2f} ms, of {one.samples}"
    )
