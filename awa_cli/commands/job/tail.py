"""Print events of all jobs as they happen."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from awa_cli.commands._options import Interval
from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import app
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.job_options import Kind, Queue, Tag
from awa_cli.parser.options import TABLE, Output
from awa_cli.terminal.output import result, say, show_rows
from awa_cli.views.widths import cells
from awa_cli.views.words import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.database.session import Session
    from awa_cli.invocation import Common
    from awa_lib.reads.activity import Activity, Transition

Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Keep printing new events until Ctrl-C is pressed.")
]
Number = Annotated[
    int, typer.Option("-n", metavar="N", min=0, max=10_000, help="Print the last N events first.")
]
Events = Annotated[
    list[str] | None,
    typer.Option(
        "--event",
        metavar="EVENT",
        help="Only this event: created, or a job state; may be repeated.",
        autocompletion=completion.events,
    ),
]


@app.command(
    epilog="""
    awa job tail -f
    awa job tail -f --queue email -o ndjson | jq -c 'select(.event == "failed")'
    awa job tail -n 50 --kind report
    """
)
def tail(
    ctx: typer.Context,
    *,
    follow: Follow = False,
    number: Number = 20,
    event: Events = None,
    kind: Kind = None,
    queue: Queue = None,
    tag: Tag = None,
    interval: Interval = "250ms",
    output: Output = TABLE,
) -> None:
    """Print what happens to jobs, one line per event.

    An event is the creation of a job or a change of its state.  Events are read from the job
    tables: workers do no extra work, and their version does not matter.
    """
    from awa_cli.filters.values import read_interval
    from awa_lib.reads.activity import Activity, recent_transitions

    seconds = read_interval(interval)
    fits = _matcher(event, kind, queue, tag)
    printer = _Printer(output, common(ctx))
    with open_session(ctx) as db:
        if follow:
            activity = Activity()
            db.run(activity.begin())
            printer.show([one for one in db.run(activity.recent(number)) if fits(one)])
            say("Following; press Ctrl-C to stop.")
            _follow(db, activity, lambda new: printer.show(list(filter(fits, new))), seconds)
        recent = [one for one in db.run(recent_transitions(number)) if fits(one)]
    printer.show(recent)
    if not recent:
        say("No events found.")


def _matcher(
    events: list[str] | None, kind: str | None, queue: str | None, tag: str | None
) -> Callable[[Transition], bool]:
    """Return the filter of the options.  Raises InvalidInput for an unknown event."""
    from awa_cli.filters.values import read_state

    words = [word for text in events or () for word in text.split(",")]
    wanted = {word if word == "created" else read_state(word, "--event") for word in words}

    def fits(one: Transition) -> bool:
        return (
            (not wanted or one.event in wanted)
            and kind in (None, one.kind)
            and queue in (None, one.queue)
            and (tag is None or tag in one.tags)
        )

    return fits


def _follow(
    db: Session, activity: Activity, show: Callable[[list[Transition]], None], seconds: float
) -> NoReturn:
    while True:
        began = time.perf_counter()
        show(db.run(activity.step()))
        if not activity.more:
            time.sleep(max(0.0, seconds - (time.perf_counter() - began)))


class _Printer:
    """Prints transitions as lines of text, or as a stream of data."""

    def __init__(self, output: Any, options: Common) -> None:
        from awa_cli.terminal.formats import Format

        self._shape, self._options = output, options
        self._widths = [0, 0, 0]
        if output.format is Format.json:
            from awa_cli.terminal.formats import Shape

            self._shape = Shape(Format.ndjson)  # a JSON list would never end

    def show(self, found: list[Transition]) -> None:
        if self._shape.for_people:
            texts = [(str(one.id), clean(one.kind), clean(one.queue)) for one in found]
            for row in texts:
                # Columns only grow, because printed lines cannot change.
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
    "created": "36",
    "running": "33",
    "completed": "32",
    "failed": "1;31",
    "retryable": "33",
    "cancelled": "90",
    "waiting_external": "35",
}


def _line(one: Transition, job: str, *, color: bool) -> str:
    event = f"{one.event:<16}"
    code = _CODES.get(one.event)
    if color and code:
        event = f"\x1b[{code}m{event}\x1b[0m"
    attempt = f"  attempt {one.attempt}" if one.attempt else ""
    error = f"  {clean(one.error)}" if one.error else ""
    moment = one.at.astimezone().strftime("%H:%M:%S.%f")[:-3]
    return f"{moment}  {event}  {job}{attempt}{error}".rstrip()
