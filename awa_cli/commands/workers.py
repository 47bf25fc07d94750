"""``awa workers``: the worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.commands._options import Interval, Watch
from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode
from awa_cli.invocation import common
from awa_cli.parser.options import TABLE, Columns, FailEmpty, Output
from awa_cli.terminal.formats import read_columns
from awa_cli.terminal.output import show_live, show_rows
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.database.session import Session
    from awa_lib.reads.runtime import RuntimeInstance

__all__ = ["app"]

app = typer.Typer()


@app.command(
    epilog="""
    awa workers
    awa workers --all -o wide
    awa workers -o json | jq '.[] | select(.leader) | .hostname'
    """
)
def workers(
    ctx: typer.Context,
    *,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Include workers that stopped reporting within the last day."),
    ] = False,
    watch: Watch = False,
    interval: Interval = "2s",
    columns: Columns = None,
    output: Output = TABLE,
    fail_empty: FailEmpty = False,
) -> int:
    """List worker processes: health, leader, running jobs and queues."""
    from awa_cli.filters.values import read_interval
    from awa_cli.views.columns import WORKERS

    seconds = read_interval(interval)
    chosen = read_columns(columns)

    with open_session(ctx) as db:
        if watch:
            show_live(
                lambda: _read(db, everything=everything),
                WORKERS,
                output,
                common(ctx),
                seconds,
                chosen=chosen,
            )
        found = _read(db, everything=True)
    count = show_rows(
        [one for one in found if everything or not one.stale],
        WORKERS,
        output,
        common(ctx),
        empty="No workers found.",
        footer=lambda shown: _footer(shown, [] if everything else found),
        chosen=chosen,
    )
    return ExitCode.NOTHING if fail_empty and not count else ExitCode.OK


def _footer(shown: Sequence[RuntimeInstance], found: Sequence[RuntimeInstance]) -> str:
    """Count the workers, and name those that fell silent and are not shown."""
    from awa_cli.views.workers import is_recent, silence, worker_name

    leaders = sum(one.leader and not one.stale for one in shown)
    said = f"{counted(len(shown), 'worker')}, {counted(leaders, 'leader')}."
    gone = [one for one in found if one.silent and is_recent(one)]
    if len(gone) == 1:
        said += f"  {worker_name(gone[0])} is {silence(gone[0])}."
    elif gone:
        said += f"  {len(gone)} more fell silent: awa workers --all -o wide"
    return said


def _read(db: Session, *, everything: bool) -> list[RuntimeInstance]:
    from awa_lib.reads.runtime import live_instances, runtime_instances

    return db.run(runtime_instances() if everything else live_instances())
