"""Enqueue one job, or a stream of jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.job._app import app
from awa_cli.commands.job._ndjson import stream
from awa_cli.commands.job._start import read_debounce, start
from awa_cli.commands.job._unique import (
    OnConflict,
    OnConflictOption,
    UniqueOption,
    mode_of,
    read_unique,
)
from awa_cli.invocation import common
from awa_cli.parser import completion
from awa_cli.parser.options import TABLE, Output
from awa_cli.terminal.output import result, show_document, show_one

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_cli.database.session import Session
    from awa_cli.terminal.formats import Shape
    from awa_lib._sql import Op
    from awa_lib.errors import AwaError
    from awa_lib.models import Job


@dataclass(frozen=True, slots=True)
class _Job:
    """The job of the command line."""

    kind: str
    args: dict[str, Any]
    options: dict[str, Any]


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
        "delay, unique.  "
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
    awa job enqueue sync --args '{"user": 7}' --unique args --on-conflict skip
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
    unique: UniqueOption = None,
    on_conflict: OnConflictOption = OnConflict.raise_,
    debounce: _Debounce = None,
    max_wait: _MaxWait = None,
    key: _Key = None,
    output: Output = TABLE,
) -> None:
    """Enqueue a job, or many jobs from NDJSON.

    Prints the id of the job, or with --ndjson the number of jobs.
    """
    from awa_cli.filters.values import read_object

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
    mode = mode_of(on_conflict, keyed=bool(unique) or (ndjson is not None and kind is None))
    others = {"--run-at": run_at, "--delay": delay, "--on-conflict": mode}
    waits = read_debounce(debounce, max_wait, others)
    if ndjson is not None:
        _alone("--ndjson", {"--args": args != "{}", "--debounce": waits})
        stream(ctx, ndjson, kind, options, on_conflict=on_conflict, output=output)
        return
    if kind is None:
        raise _no_kind()
    one = _Job(kind, read_object(args, "--args"), options)
    if mode is None:
        _insert(ctx, one, waits, output)
    else:
        _insert_or(ctx, one, on_conflict, output)


def _no_kind() -> AwaError:
    from awa_lib.errors import InvalidInput

    return InvalidInput("no kind was given", hint="write it like: awa job enqueue KIND --args JSON")


def _alone(option: str, others: Mapping[str, object]) -> None:
    from awa_lib.errors import InvalidInput

    for name, given in others.items():
        if given:
            raise InvalidInput(
                f"{option} and {name} cannot be used together", hint="use one of them"
            )


def _insert(ctx: typer.Context, one: _Job, waits: dict[str, Any], output: Shape) -> None:
    from awa_lib.enqueue.new_jobs import check
    from awa_lib.ops.inserts import insert
    from awa_lib.reads.new_job import row_of_new

    if waits and one.options["unique"] is None:
        one.options["unique"] = read_unique(["args"])
    new = check([one.args], kind=one.kind, **one.options)
    with open_session(ctx, changing=True) as db:
        job = db.change(
            "job.enqueue",
            one.kind,
            insert(one.args, kind=one.kind, **one.options, **waits),
            lambda job: {"job_id": job.id},
            queue=one.options["queue"],
        )
    unique = new.options.unique
    if unique is None:
        row = row_of_new(job)
    else:
        held = unique.while_waiting() if waits else unique
        row = row_of_new(job, new.unique_keys[0], held.states)
    show_one(row, f"Enqueued job {job.id}", output, common(ctx))


def _insert_or(ctx: typer.Context, one: _Job, on_conflict: OnConflict, output: Shape) -> None:
    """Insert a job whose unique key may be taken; what changes nothing is not logged."""
    from awa_cli.terminal.formats import Format
    from awa_lib.reads.jobs import job_row

    with open_session(ctx, changing=True) as db:
        job, sentence = db.run(_insert_with(db, one, on_conflict))
        if output.for_people:
            result(sentence)
        elif job is not None:
            show_one(db.run(job_row(job.id)), sentence, output, common(ctx))
        elif output.format is Format.json:
            from awa_cli.documents.reports import Enqueued

            show_document(Enqueued(0, 1))


def _insert_with(db: Session, one: _Job, on_conflict: OnConflict) -> Op[tuple[Job | None, str]]:
    """Return the job, or None, and the sentence that says what happened."""
    from awa_lib.ops.inserts import insert

    def noted(mode: Literal["skip", "replace"]) -> Op[Job | None]:
        op: Op[Job | None] = insert(one.args, kind=one.kind, on_conflict=mode, **one.options)
        return db.noted(
            "job.enqueue",
            one.kind,
            op,
            lambda job: None if job is None else {"job_id": job.id},
            queue=one.options["queue"],
        )

    job = yield from noted("skip")
    if job is not None:
        return job, f"Enqueued job {job.id}"
    if on_conflict is OnConflict.skip:
        return None, "Nothing was enqueued: another job holds the unique key"
    if on_conflict is OnConflict.replace_:
        job = yield from noted("replace")
        return job, f"Replaced job {job.id}" if job else ""
    job = yield from insert(one.args, kind=one.kind, on_conflict="return_existing", **one.options)
    return job, f"Nothing was enqueued: job {job.id} holds the unique key"
