"""Enqueue one job, or a stream of jobs."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import app
from awa_cli.commands.job._start import read_debounce, read_unique, start
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.options import TABLE, Output
from awa_cli.terminal.output import result, say, show_document, show_one
from awa_cli.terminal.progress import Progress
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from awa_cli.terminal.formats import Shape
    from awa_lib.enqueue.options import NewJob


_Kind = Annotated[
    str | None,
    typer.Argument(
        metavar="KIND",
        help="Kind of the job; with --ndjson each line can name its kind instead.",
        autocompletion=completion.kinds,
    ),
]
_Args = Annotated[
    str,
    typer.Option("--args", metavar="JSON", help="Arguments: a JSON object, @FILE, or - for stdin."),
]
_Ndjson = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="File with one JSON object per line, or - for stdin: the args of a job, or without "
        "KIND an object with kind, args, queue, priority, max_attempts, tags, metadata, run_at, "
        "delay.  "
        "All jobs are enqueued in one transaction.",
    ),
]
_Queue = Annotated[
    str, typer.Option(metavar="QUEUE", help="Queue of the job.", autocompletion=completion.queues)
]
_Priority = Annotated[
    int, typer.Option(metavar="N", min=1, max=4, help="Priority; 1 is the most urgent.")
]
_MaxAttempts = Annotated[
    int, typer.Option(metavar="N", min=1, max=1000, help="Number of attempts before the job fails.")
]
_Tag = Annotated[list[str] | None, typer.Option(metavar="TAG", help="Tag; may be repeated.")]
_Metadata = Annotated[str, typer.Option(metavar="JSON", help="Metadata: a JSON object.")]
_RunAt = Annotated[
    str | None, typer.Option(metavar="TIME", help="Earliest start, as an RFC 3339 time.")
]
_Delay = Annotated[
    str | None,
    typer.Option(
        "--delay",
        "--in",
        metavar="DURATION",
        help="Earliest start from now: 90s, 10m, 2h30m, 7d.  Both names mean the same.",
    ),
]
_Unique = Annotated[
    list[str] | None,
    typer.Option(
        metavar="BY",
        help="Refuse a second job of the kind with the same args, queue or fields=NAME, in the "
        "same period=1h, while the first one is states=not_started, not_finished (the default), "
        "any or a state; words are joined by commas, and the option may be repeated.",
    ),
]
_Debounce = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Start when no further job with the same unique key came for that long, with the "
        "args of the last one; by default jobs are compared by args.",
    ),
]
_MaxWait = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="With --debounce: start at most that long after the first one."
    ),
]
_Key = Annotated[
    str | None, typer.Option(metavar="KEY", help="Concurrency key, for limits per key.")
]


@app.command(
    epilog="""
    awa job enqueue send_email --args '{"to": "a@example.org"}'
    awa job enqueue report --args @report.json --queue slow --delay 2h30m
    awa job enqueue sync --args '{"user": 7}' --unique args --key user-7
    awa job enqueue digest --unique by=kind,states=any,period=1h
    awa job enqueue index --args '{"doc": 7}' --unique fields=doc --debounce 5s --max-wait 1m
    jq -c .payload events.json | awa job enqueue ingest --ndjson -
    awa job list --all -o ndjson | jq -c '{kind, args}' | awa job enqueue --ndjson -
    """
)
def enqueue(
    ctx: typer.Context,
    kind: _Kind = None,
    *,
    args: _Args = "{}",
    ndjson: _Ndjson = None,
    queue: _Queue = "default",
    priority: _Priority = 2,
    max_attempts: _MaxAttempts = 25,
    tag: _Tag = None,
    metadata: _Metadata = "{}",
    run_at: _RunAt = None,
    delay: _Delay = None,
    unique: _Unique = None,
    debounce: _Debounce = None,
    max_wait: _MaxWait = None,
    key: _Key = None,
    output: Output = TABLE,
) -> None:
    """Enqueue a job, or many jobs from NDJSON.

    Prints the id of the job, or with --ndjson the number of jobs.
    """
    from awa_cli.filters.values import read_object
    from awa_lib.errors import InvalidInput

    options: dict[str, Any] = {
        "queue": queue,
        "priority": priority,
        "max_attempts": max_attempts,
        "tags": tag or [],
        "metadata": read_object(metadata, "--metadata"),
        **start(run_at, delay),
        "unique": read_unique(unique or []),
        "concurrency_key": key,
    }
    waits = read_debounce(debounce, max_wait, {"--run-at": run_at, "--delay": delay})
    if ndjson is not None:
        for name, given in {"--args": args != "{}", "--debounce": waits}.items():
            if given:
                raise InvalidInput(
                    f"--ndjson and {name} cannot be used together", hint="use one of them"
                )
        _stream(ctx, ndjson, kind, options, output)
        return
    if kind is None:
        raise InvalidInput(
            "no kind was given", hint="write it like: awa job enqueue KIND --args JSON"
        )
    _insert(ctx, kind, read_object(args, "--args"), options, waits=waits, output=output)


def _insert(
    ctx: typer.Context,
    kind: str,
    args: dict[str, Any],
    options: dict[str, Any],
    *,
    waits: dict[str, Any],
    output: Shape,
) -> None:
    from awa_lib.enqueue.new_jobs import check
    from awa_lib.ops.inserts import insert
    from awa_lib.reads.new_job import row_of_new

    if waits and options["unique"] is None:
        options["unique"] = read_unique(["args"])
    new = check([args], kind=kind, **options)
    with open_session(ctx, changing=True) as db:
        job = db.change(
            "job.enqueue",
            kind,
            insert(args, kind=kind, **options, **waits),
            lambda job: {"job_id": job.id},
            queue=options["queue"],
        )
    unique = new.options.unique
    if unique is None:
        row = row_of_new(job)
    else:
        held = unique.while_waiting() if waits else unique
        row = row_of_new(job, new.unique_keys[0], held.states)
    show_one(row, f"Enqueued job {job.id}", output, common(ctx))


def _stream(
    ctx: typer.Context, name: str, kind: str | None, options: dict[str, Any], output: Shape
) -> None:
    """Insert a job for each line, in one transaction and constant memory."""
    from awa_cli.input import open_text
    from awa_cli.terminal.formats import Format
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.inserts import enqueue_many_copy

    if output.format not in {Format.table, Format.json}:
        raise InvalidInput(
            f"--ndjson cannot be used with -o {output.format}",
            why="many jobs are counted, not listed",
            hint="use -o table or -o json",
        )
    with open_text(name) as file, open_session(ctx, changing=True) as db:
        source = _Lines(file)
        jobs = _args(source) if kind is not None else _records(source)
        taken = 0

        def show(count: int) -> None:
            nonlocal taken
            taken = count
            progress.show(count)

        detail = {} if kind is None else {"queue": options["queue"]}
        try:
            op = enqueue_many_copy(jobs, kind=kind, on_progress=show, **options)
            with Progress(common(ctx)) as progress:
                count = db.change(
                    "job.enqueue", kind or "jobs", op, lambda count: {"jobs": count}, **detail
                )
        except InvalidInput as error:
            if str(error).startswith("line "):
                raise
            where = f"in lines {taken + 1} to {source.number}; nothing was enqueued"
            raise InvalidInput(str(error), why=error.why, hint=where) from None
        except KeyboardInterrupt:
            say("Stopped; nothing was enqueued.")
            raise
    if output.format is Format.table:
        result(f"Enqueued {counted(count)}")
    else:
        from awa_cli.documents.reports import Enqueued

        show_document(Enqueued(count))


class _Lines:
    """The lines of a stream, parsed as JSON; ``number`` is the number of the last line read."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        from awa_lib.errors import InvalidInput

        try:
            for line in self._file:
                self.number += 1
                if line.strip():
                    yield self.number, json.loads(line)
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"line {self.number + 1} is not UTF-8",
                why=f"it has the byte {error.object[error.start]:#04x}",
                hint="nothing was enqueued; save the file as UTF-8 and run the command again",
            ) from None
        except (ValueError, RecursionError) as error:
            raise InvalidInput(
                f"line {self.number} is not JSON",
                why=str(error).lower(),
                hint="nothing was enqueued; correct the line and run the command again",
            ) from None


def _args(lines: _Lines) -> Iterator[Any]:
    from awa_lib.errors import InvalidInput

    for number, value in lines:
        if not isinstance(value, dict):
            raise InvalidInput(
                f"line {number} is not a JSON object",
                hint='nothing was enqueued; write args like {"to": "a"}',
            )
        yield value


def _records(lines: _Lines) -> Iterator[NewJob]:
    from awa_lib.enqueue.options import NewJob
    from awa_lib.errors import InvalidInput

    known = [one.name for one in fields(NewJob)]
    for number, value in lines:
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            raise InvalidInput(
                f"line {number} has no kind",
                hint="nothing was enqueued; name KIND on the command line, or write lines like "
                '{"kind": "report", "args": {}}',
            )
        for name in value:
            if name not in known:
                from awa_lib.validation import did_you_mean

                raise InvalidInput(
                    f"line {number} has an unknown field {name!r}",
                    why=f"fields are {', '.join(known)}",
                    hint=did_you_mean(name, known) or "nothing was enqueued",
                )
        yield NewJob(**{"args": {}, **value})
