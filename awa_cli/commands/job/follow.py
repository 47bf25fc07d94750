"""Follow jobs: wait for them, watch one, see what happens to all."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import One, app
from awa_cli.errors import ExitCode, complain
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.job_options import Kind, Queue, Tag, read_ids
from awa_cli.parser.options import TABLE, Output
from awa_cli.terminal.output import result, say, show_rows
from awa_cli.views.widths import cells
from awa_cli.views.words import clean
from awa_lib.states import ENDED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_cli.database.session import Session
    from awa_cli.invocation import Common
    from awa_lib.ops.waits import JobStatus
    from awa_lib.reads.activity import Transition

# How long to sleep between looks while notifications arrive, and while they cannot.
_LOOK_SECONDS: Final = 2.0
_WATCHED_SECONDS: Final = 60.0


@app.command(
    epilog="""
    awa job wait 42 43 --timeout 10m
    awa job wait $(awa job enqueue report -o ids) && echo done
    awa job list --kind import --all -o ids | awa job wait - --for completed --for cancelled
    """
)
def wait(
    ctx: typer.Context,
    jobs: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...", help="Ids of jobs, or - for stdin.", autocompletion=completion.job_ids
        ),
    ],
    wanted: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            metavar="STATE",
            help="What to wait for; completed by default, may be given again.",
            autocompletion=completion.states,
        ),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Give up after so long, status 124.")
    ] = None,
    output: Output = TABLE,
) -> int:
    """Wait until jobs come into a state; the exit status tells the outcome.

    0 when all did, 1 as soon as one ended otherwise or is gone, 124 when the time ran out.
    """
    from awa_cli.filters.values import read_duration, read_state
    from awa_cli.views.columns import STATUSES

    ids = read_ids(jobs)
    states = {read_state(one) for text in wanted or ["completed"] for one in text.split(",")}
    seconds = None if timeout is None else read_duration(timeout, "--timeout").total_seconds()
    with open_session(ctx) as db:
        last: dict[int, JobStatus] = {}
        outcome = ExitCode.TIMED_OUT
        for last in _looks(db, ids, seconds):
            missing = [job_id for job_id in ids if job_id not in last]
            wrong = [one for one in last.values() if one.state in ENDED and one.state not in states]
            if missing or wrong:
                outcome = ExitCode.FAILED
                break
            if all(one.state in states for one in last.values()):
                outcome = ExitCode.OK
                break
    rows = [last[job_id] for job_id in dict.fromkeys(ids) if job_id in last]
    if rows or not output.for_people:
        show_rows(rows, STATUSES, output, common(ctx), empty="")
    _explain(ctx, outcome, [one for one in ids if one not in last], timeout)
    return outcome


def _explain(ctx: typer.Context, outcome: ExitCode, gone: list[int], timeout: str | None) -> None:
    color = common(ctx).color(sys.stderr)
    for job_id in gone:
        complain(f"job not found: {job_id}", None, "list jobs: awa job list", color=color)
    if outcome is ExitCode.TIMED_OUT:
        complain(f"not all jobs were there after {timeout}", color=color)


def _looks(db: Session, ids: list[int], seconds: float | None) -> Iterator[dict[int, JobStatus]]:
    """Look at the jobs: now, when told of a change, and now and then; until the time is over."""
    from awa_lib.errors import DatabaseError
    from awa_lib.ops.waits import CHANNEL, job_states, unwatch_jobs, watch_jobs

    until = None if seconds is None else time.monotonic() + seconds
    told = True
    try:
        try:
            db.conn.execute(f"LISTEN {CHANNEL}")
            db.run(watch_jobs(ids, _WATCHED_SECONDS))
        except DatabaseError:
            told = False  # a reader's role, or a standby: it looks more often instead
        renew = time.monotonic() + _WATCHED_SECONDS / 2
        while True:
            yield db.run(job_states(ids))
            rest = _LOOK_SECONDS if told else _LOOK_SECONDS / 4
            if until is not None:
                rest = min(rest, until - time.monotonic())
                if rest <= 0:
                    return
            if told and time.monotonic() > renew:
                db.run(watch_jobs(ids, _WATCHED_SECONDS))
                renew = time.monotonic() + _WATCHED_SECONDS / 2
            for _ in db.conn.notifies(timeout=rest, stop_after=1):
                pass
    finally:
        # It ends by itself too: Ctrl-C must not become the error of a connection it broke.
        if told and not db.conn.broken:
            with suppress(DatabaseError):
                db.run(unwatch_jobs())


@app.command(epilog="awa job watch 42")
def watch(
    ctx: typer.Context,
    job_id: One,
    interval: Annotated[str, typer.Option(metavar="DURATION", help="How often to look.")] = "500ms",
) -> int:
    """Watch one job until it ends: its page, live; in a pipe a line for each change.

    Status 0 when it completed, 1 when it ended otherwise.
    """
    from awa_cli.feed import watch as look
    from awa_cli.filters.values import read_interval
    from awa_lib.reads.jobs import dump_job

    seconds = read_interval(interval)
    live = sys.stdout.isatty()
    with open_session(ctx) as db:
        screen = _LivePage(common(ctx)) if live else _Lines()
        with screen:
            for dump in look(lambda: db.run(dump_job(job_id)), seconds):
                screen.show(dump)
                if dump.job.state in ENDED:
                    return ExitCode.OK if dump.job.state == "completed" else ExitCode.FAILED
    raise AssertionError


class _LivePage:
    """The page of a job, drawn in place; what was last seen stays."""

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


@app.command(
    epilog="""
    awa job tail -f
    awa job tail -f --queue email -o ndjson | jq -c 'select(.event == "failed")'
    awa job tail -n 50 --kind report
    """
)
def tail(
    ctx: typer.Context,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what happens, until Ctrl-C.")
    ] = False,
    number: Annotated[
        int, typer.Option("-n", metavar="N", min=0, max=10_000, help="So many to begin with.")
    ] = 20,
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EVENT",
            help="Only these: created, or a state; may be repeated.",
            autocompletion=completion.events,
        ),
    ] = None,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    interval: Annotated[
        str, typer.Option(metavar="DURATION", help="How often to look with -f.")
    ] = "250ms",
    output: Output = TABLE,
) -> None:
    """Print what happens to jobs: created, started, waiting, retried, ended; a line for each.

    Costs the workers nothing: it is read from the rows, of workers of any version.
    """
    from awa_cli.filters.values import read_interval
    from awa_lib.reads.activity import Activity, recent_transitions

    seconds = read_interval(interval)
    wanted = _wanted(event)

    def fits(one: Transition) -> bool:
        return (
            (not wanted or one.event in wanted)
            and kind in (None, one.kind)
            and queue in (None, one.queue)
            and (tag is None or tag in one.tags)
        )

    printer = _Printer(output, common(ctx))
    with open_session(ctx) as db:
        activity = Activity()
        if follow:
            db.run(activity.begin())
        look = activity.recent if follow else recent_transitions
        recent = [one for one in db.run(look(number)) if fits(one)]
        printer.show(recent)
        if not follow:
            if not recent:
                say("Nothing has happened.")
            return
        say("following; Ctrl-C ends")
        while True:
            began = time.perf_counter()
            printer.show([one for one in db.run(activity.step()) if fits(one)])
            if not activity.more:
                time.sleep(max(0.0, seconds - (time.perf_counter() - began)))


def _wanted(events: list[str] | None) -> set[str]:
    from awa_cli.filters.values import read_state

    words = [word for text in events or () for word in text.split(",")]
    return {word if word == "created" else read_state(word) for word in words}


class _Printer:
    """Prints transitions: lines for people, or a stream of data."""

    def __init__(self, output: Any, options: Common) -> None:
        from awa_cli.terminal.formats import Format

        self._shape, self._options = output, options
        self._widths = [0, 0, 0]
        if output.format is Format.json:
            from awa_cli.terminal.formats import Shape

            self._shape = Shape(Format.ndjson)  # a list would never end

    def show(self, found: list[Transition]) -> None:
        if self._shape.for_people:
            texts = [(str(one.id), clean(one.kind), clean(one.queue)) for one in found]
            for row in texts:
                # They only grow: lines already printed cannot move.
                self._widths = list(map(max, self._widths, map(cells, row)))
            for one, row in zip(found, texts, strict=True):
                padded = [
                    text + " " * (w - cells(text))
                    for text, w in zip(row, self._widths, strict=True)
                ]
                result(_line(one, "  ".join(padded), color=self._options.color()))
        elif found:
            show_rows(found, (), self._shape, self._options, empty="")
        sys.stdout.flush()


_CODES: Final = {
    "created": "36", "running": "33", "completed": "32", "failed": "1;31", "retryable": "33",
    "cancelled": "90", "waiting_external": "35",
}  # fmt: skip


def _line(one: Transition, job: str, *, color: bool) -> str:
    event = f"{one.event:<16}"
    code = _CODES.get(one.event)
    if color and code:
        event = f"\x1b[{code}m{event}\x1b[0m"
    attempt = f"  attempt {one.attempt}" if one.attempt else ""
    error = f"  {clean(one.error)}" if one.error else ""
    moment = one.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{moment}  {event}  {job}{attempt}{error}".rstrip()


@app.command(
    epilog="""
    awa job logs 42
    awa job logs 42 --attempt 2
    awa job logs 42 -o ndjson | jq -r .detail
    """
)
def logs(
    ctx: typer.Context,
    job_id: One,
    attempt: Annotated[
        int | None, typer.Option(metavar="N", help="Only what this attempt left.")
    ] = None,
    output: Output = TABLE,
) -> None:
    """Print the events and errors of one job, oldest first, with whole tracebacks."""
    from awa_lib.reads.jobs import dump_job

    with open_session(ctx) as db:
        events = db.run(dump_job(job_id)).timeline
    if attempt is not None:
        prefix = f"Attempt {attempt} "
        events = [one for one in events if f"{one.label} ".startswith(prefix)]
    if not output.for_people:
        show_rows(events, (), output, common(ctx), empty="")
        return
    color = common(ctx).color()
    for one in events:
        line = f"{one.timestamp[:19]}Z  {one.label}"
        result(f"\x1b[31m{line}\x1b[0m" if color and one.is_error else line)
        for text in (one.detail or "").splitlines():
            result(f"    {clean(text)}")
    if not events:
        say("This attempt left nothing.")
