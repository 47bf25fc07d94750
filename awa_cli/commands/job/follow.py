"""Follow jobs: wait for several, or watch one."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.commands._options import Interval
from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import One, app
from awa_cli.errors import ExitCode, complain
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.job_options import read_ids
from awa_cli.parser.options import TABLE, Output, Redact
from awa_cli.terminal.output import result, show_line, show_rows
from awa_cli.views.words import clean
from awa_lib.states import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_cli.database.session import Session
    from awa_cli.invocation import Common
    from awa_lib.ops.waits import JobStatus

# Reads between notifications; without notifications four times as often.
_POLL_SECONDS: Final = 2.0
_WATCHED_SECONDS: Final = 60.0

Jobs = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...",
        help="Ids of jobs, or - to read them from stdin.",
        autocompletion=completion.job_ids,
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--for",
        metavar="STATE",
        help="State to wait for; completed by default; may be repeated.",
        autocompletion=completion.states,
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="Give up after this time, with exit status 124; by default never."
    ),
]

Results = Annotated[
    bool,
    typer.Option(
        "--result",
        help="Print what the jobs returned, each as JSON on a line, instead of their states.",
    ),
]


@app.command(
    epilog="""
    awa job wait 42 43 --timeout 10m
    awa job wait 42 --result | jq .pages
    awa job wait $(awa job enqueue report -o ids) && echo done
    awa job list --kind import --all -o ids | awa job wait - --for completed --for cancelled
    """
)
def wait(
    ctx: typer.Context,
    jobs: Jobs,
    *,
    wanted: States = None,
    timeout: Timeout = None,
    results: Results = False,
    redact: Redact = None,
    output: Output = TABLE,
) -> int:
    """Wait until jobs reach a state.

    Exits with status 0 when all jobs have reached it, 1 as soon as a job has ended in another state
    or does not exist, and 124 when the timeout expires.  With --result it prints the results in the
    order of the ids, and exits with status 1 if a job has none.
    """
    from awa_cli.filters.values import read_duration, read_state
    from awa_cli.views.job_columns import STATUSES

    ids = read_ids(jobs)
    states = {
        read_state(one, "--for") for text in wanted or ["completed"] for one in text.split(",")
    }
    if results and (wanted or not output.for_people):
        _refuse_forms(ids[0])
    seconds = None if timeout is None else read_duration(timeout, "--timeout").total_seconds()
    with open_session(ctx) as db:
        last: dict[int, JobStatus] = {}
        outcome = ExitCode.TIMED_OUT
        for last in polls(db, ids, seconds):
            missing = [job_id for job_id in ids if job_id not in last]
            wrong = [one for one in last.values() if one.state in ENDED and one.state not in states]
            if missing or wrong:
                outcome = ExitCode.FAILED
                break
            if all(one.state in states for one in last.values()):
                outcome = ExitCode.OK
                break
        if results and outcome is ExitCode.OK:
            _show_results(db, ids, redact)
            return outcome
    rows = [last[job_id] for job_id in dict.fromkeys(ids) if job_id in last]
    if rows or not output.for_people:
        show_rows(rows, STATUSES, output, common(ctx), empty="")
    _explain(ctx, outcome, [one for one in ids if one not in last], timeout)
    return outcome


def _refuse_forms(job_id: int) -> None:
    from awa_lib.errors import InvalidInput

    raise InvalidInput(
        "--result cannot be used with --for or --output",
        why="it prints the results of completed jobs, a line of JSON each",
        hint=f"leave them out: awa job wait {job_id} --result",
    )


def _show_results(db: Session, ids: list[int], redact: str | None) -> None:
    from awa_cli.redact import hidden
    from awa_lib.reads.job_results import ended_result

    for job_id in ids:
        show_line(hidden(db.run(ended_result(job_id)), redact).value)


def _explain(ctx: typer.Context, outcome: ExitCode, gone: list[int], timeout: str | None) -> None:
    color = common(ctx).color(sys.stderr)
    for job_id in gone:
        complain(f"job not found: {job_id}", None, "list jobs: awa job list", color=color)
    if outcome is ExitCode.TIMED_OUT and timeout is not None:
        # A number without a unit is one of seconds.
        within = timeout if timeout[-1:].isalpha() else f"{timeout}s"
        complain(f"not all jobs reached the state within {within}", color=color)


def polls(db: Session, ids: list[int], seconds: float | None) -> Iterator[dict[int, JobStatus]]:
    """Yield the states of the jobs: now, soon again, after each notification, at intervals."""
    from awa_lib.errors import DatabaseError
    from awa_lib.ops.waits import CHANNEL, FIRST_LOOKS, job_states, unwatch_jobs, watch_jobs

    until = None if seconds is None else time.monotonic() + seconds
    notified = True
    try:
        try:
            db.conn.execute(f"LISTEN {CHANNEL}")
            db.run(watch_jobs(ids, _WATCHED_SECONDS))
        except DatabaseError:
            notified = False  # a read-only role or a standby cannot listen
        renew = time.monotonic() + _WATCHED_SECONDS / 2
        first = iter(FIRST_LOOKS)
        while True:
            yield db.run(job_states(ids))
            rest = next(first, _POLL_SECONDS if notified else _POLL_SECONDS / 4)
            if until is not None:
                rest = min(rest, until - time.monotonic())
                if rest <= 0:
                    return
            if notified and time.monotonic() > renew:
                db.run(watch_jobs(ids, _WATCHED_SECONDS))
                renew = time.monotonic() + _WATCHED_SECONDS / 2
            for _ in db.conn.notifies(timeout=rest, stop_after=1):
                pass
    finally:
        # Registrations expire by themselves; after Ctrl-C the connection may be broken.
        if notified and not db.conn.broken:
            with suppress(DatabaseError):
                db.run(unwatch_jobs(ids))


@app.command(epilog="awa job watch 42")
def watch(
    ctx: typer.Context,
    job_id: One,
    *,
    interval: Interval = "500ms",
) -> int:
    """Watch one job until it ends.

    At a terminal the page of the job is updated in place; otherwise a line is printed for each
    change.  Exits with status 0 if the job completed, and 1 if it failed or was cancelled.
    """
    from awa_cli.feed import watch as poll
    from awa_cli.filters.values import read_interval
    from awa_lib.reads.job_dumps import dump_job

    seconds = read_interval(interval)
    live = sys.stdout.isatty()
    with open_session(ctx) as db:
        screen = _LivePage(common(ctx)) if live else _Lines()
        with screen:
            for dump in poll(lambda: db.run(dump_job(job_id)), seconds):
                screen.show(dump)
                if dump.job.state in ENDED:
                    return ExitCode.OK if dump.job.state == "completed" else ExitCode.FAILED
    raise AssertionError


class _LivePage:
    """The page of a job, updated in place; the last state stays on the screen."""

    def __init__(self, options: Common) -> None:
        from rich.console import Console
        from rich.live import Live

        self._color = options.color()
        console = Console(no_color=not self._color, highlight=False)
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> None:
        self._live.__enter__()

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, dump: Any) -> None:
        from rich.text import Text

        from awa_cli.terminal.pages.job import job_page

        page = job_page(dump, color=self._color).partition("\nArgs")[0]
        self._live.update(Text.from_ansi(page, no_wrap=True, overflow="ellipsis"), refresh=True)


class _Lines:
    """One line for each change."""

    def __init__(self) -> None:
        self._last = ""

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        return

    def show(self, dump: Any) -> None:
        job = dump.job
        done = job.progress or {}
        percent = "" if done.get("percent") is None else f" {done['percent']}%"
        message = f" {clean(done['message'])}" if done.get("message") else ""
        line = f"{job.id} {job.state} attempt {job.attempt}{percent}{message}"
        if line != self._last:
            result(line)
            sys.stdout.flush()
        self._last = line
