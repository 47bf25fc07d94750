"""Print the history of one job, with what its handlers have logged."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import One, app
from awa_cli.commands.job.follow import polls
from awa_cli.invocation import common
from awa_cli.parser.options import TABLE, Output
from awa_cli.terminal.output import result, say, show_rows
from awa_cli.views.words import clean
from awa_lib.states import ENDED

if TYPE_CHECKING:
    from awa_cli.database.session import Session
    from awa_cli.invocation import Common
    from awa_lib.reads.job_logs import HistoryEntry


@app.command(
    epilog="""
    awa job logs 42
    awa job logs 42 -f
    awa job logs 42 --attempt 2
    awa job logs 42 -o ndjson | jq -r 'select(.logger) | .detail'
    """
)
def logs(
    ctx: typer.Context,
    job_id: One,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing until the job has ended.")
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, max=32767, help="Only what belongs to this attempt."),
    ] = None,
    output: Output = TABLE,
) -> None:
    """Print the events, errors and logs of one job, oldest first, with full tracebacks.

    What handlers log is kept for kinds and queues that are declared with capture_logs, the last
    64 kB of each run.  While a run goes on its records arrive with the heartbeats of the worker.
    """
    from awa_lib.reads.job_logs import job_history

    printer = _Printer(output, common(ctx), stream=follow)
    with open_session(ctx) as db:
        if follow:
            _follow(db, job_id, attempt, printer)
        else:
            printer.show(db.run(job_history(job_id, attempt=attempt)))
    if not printer.count and output.for_people:
        say("No events found.")


def _follow(db: Session, job_id: int, attempt: int | None, printer: _Printer) -> None:
    """Print what is new after each notification, and at intervals, until the job has ended."""
    from awa_lib.reads.job_logs import job_history

    printed: Counter[HistoryEntry] = Counter()
    for states in polls(db, [job_id], None):
        # Read after the state: the log of a run is whole when its end can be seen.
        seen: Counter[HistoryEntry] = Counter()
        new = []
        for one in db.run(job_history(job_id, attempt=attempt)):
            # An attempt that runs has started already.
            key = replace(one, label=one.label.replace(" running", " started"), state=None)
            seen[key] += 1
            if seen[key] > printed[key]:
                new.append(one)
        printed |= seen
        printer.show(new)
        if job_id not in states or states[job_id].state in ENDED:
            return


class _Printer:
    """Prints entries as lines of text, or as data; a stream of JSON is one of lines."""

    def __init__(self, output: Any, options: Common, *, stream: bool) -> None:
        from awa_cli.terminal.formats import Format, Shape

        lines = stream and output.format is Format.json
        self._shape = Shape(Format.ndjson) if lines else output
        self._options, self._stream = options, stream
        self.count = 0

    def show(self, entries: list[HistoryEntry]) -> None:
        self.count += len(entries)
        if self._shape.for_people:
            for one in entries:
                _print(one, color=self._options.color())
        elif entries or not self._stream:
            show_rows(entries, (), self._shape, self._options, empty="")
        sys.stdout.flush()


def _print(one: HistoryEntry, *, color: bool) -> None:
    rest = (one.detail or "").splitlines()
    line = f"{one.timestamp[:19]}Z  {one.label}"
    if one.logger is not None:
        line = f"{line} {clean(one.logger)}: {clean(rest.pop(0)) if rest else ''}"
    result(f"\x1b[31m{line}\x1b[0m" if color and one.is_error else line)
    for text in rest:
        result(f"    {clean(text)}")
