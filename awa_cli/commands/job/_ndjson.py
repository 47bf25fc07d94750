"""Many jobs from NDJSON, in one transaction and constant memory."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from awa_cli.commands._session import open_session
from awa_cli.commands.job._unique import OnConflict, unique_of
from awa_cli.invocation import common
from awa_cli.terminal.output import result, say, show_document
from awa_cli.terminal.progress import Progress
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    import typer

    from awa_cli.terminal.formats import Shape
    from awa_lib.enqueue.options import NewJob
    from awa_lib.errors import AwaError

__all__ = ["stream"]


def stream(
    ctx: typer.Context,
    name: str,
    kind: str | None,
    options: dict[str, Any],
    *,
    on_conflict: OnConflict,
    output: Shape,
) -> None:
    """Insert a job for each line, and print how many."""
    from awa_cli.input import open_text
    from awa_lib.errors import InvalidInput, UniqueConflict
    from awa_lib.ops.inserts import enqueue_many_copy

    _check(on_conflict, output)
    with open_text(name) as file, open_session(ctx, changing=True) as db:
        source = _Lines(file)
        jobs = _args(source) if kind is not None else _records(source)
        taken = 0

        def show(count: int) -> None:
            nonlocal taken
            taken = source.number
            progress.show(count)

        detail = {} if kind is None else {"queue": options["queue"]}
        try:
            op = enqueue_many_copy(
                jobs, kind=kind, on_conflict=on_conflict.value, on_progress=show, **options
            )
            with Progress(common(ctx)) as progress:
                count = db.change(
                    "job.enqueue", kind or "jobs", op, lambda count: {"jobs": count}, **detail
                )
        except (InvalidInput, UniqueConflict) as error:
            if str(error).startswith("line "):
                raise
            raise _among(error, taken + 1, source.number) from None
        except KeyboardInterrupt:
            say("Stopped; nothing was enqueued.")
            raise
    _show(count, source.jobs - count, output)


def _check(on_conflict: OnConflict, output: Shape) -> None:
    from awa_cli.terminal.formats import Format
    from awa_lib.errors import InvalidInput

    if output.format not in {Format.table, Format.json}:
        raise InvalidInput(
            f"--ndjson cannot be used with -o {output.format}",
            why="many jobs are counted, not listed",
            hint="use -o table or -o json",
        )
    if on_conflict is OnConflict.return_existing:
        raise InvalidInput(
            "--ndjson and --on-conflict return_existing cannot be used together",
            why="many jobs are counted, not listed",
            hint="use --on-conflict skip",
        )


def _among(error: AwaError, first: int, last: int) -> AwaError:
    """Return the error with the lines that it is about."""
    from awa_lib.errors import Conflict, InvalidInput, UniqueConflict

    where = f"in lines {first} to {last}; nothing was enqueued"
    if isinstance(error, UniqueConflict):
        hint = f"{where}; leave out such jobs with --on-conflict skip"
        return Conflict(str(error), why=error.why, hint=hint)
    return InvalidInput(str(error), why=error.why, hint=where)


def _show(count: int, skipped: int, output: Shape) -> None:
    from awa_cli.terminal.formats import Format

    if output.format is Format.table:
        more = f"; skipped {counted(skipped)} whose unique key is taken" if skipped else ""
        result(f"Enqueued {counted(count)}{more}")
    else:
        from awa_cli.documents.reports import Enqueued

        show_document(Enqueued(count, skipped))


class _Lines:
    """The lines of a stream, parsed as JSON.

    ``number`` is the number of the last line read, ``jobs`` that of the lines that are not blank.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.number = 0
        self.jobs = 0

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        from awa_lib.errors import InvalidInput

        try:
            for line in self._file:
                self.number += 1
                if line.strip():
                    self.jobs += 1
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
        record = {"args": {}, **value}
        if value.get("unique") is not None:
            try:
                record["unique"] = unique_of(value["unique"], record["args"])
            except InvalidInput as error:
                raise _at(number, error) from None
        yield NewJob(**record)


def _at(number: int, error: AwaError) -> AwaError:
    from awa_lib.errors import InvalidInput

    return InvalidInput(
        f"line {number}: {error}", why=error.why, hint=error.hint or "nothing was enqueued"
    )
