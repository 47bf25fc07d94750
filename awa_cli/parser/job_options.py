"""Options that choose the jobs of a command, each declared once."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.parser import completion
from awa_cli.parser.options import FailEmpty, Report, ReportFormat
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awa_cli.database.session import Session
    from awa_lib.filters import JobFilter, JobQuery

__all__ = [
    "ErrorText",
    "FailureId",
    "Kind",
    "Queue",
    "Selection",
    "Since",
    "States",
    "Tag",
    "Until",
    "Where",
    "hint_at",
    "read_ids",
    "read_options",
    "selecting",
]

States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only jobs in this state; may be repeated.",
        autocompletion=completion.states,
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Only jobs of this kind.", autocompletion=completion.kinds),
]
Queue = Annotated[
    str | None,
    typer.Option(
        metavar="QUEUE", help="Only jobs in this queue.", autocompletion=completion.queues
    ),
]
Tag = Annotated[str | None, typer.Option(metavar="TAG", help="Only jobs with this tag.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Created at or after: 2h, 7d ago, or an RFC 3339 time."),
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Created before.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH=VALUE",
        help="Only jobs with this value: args.customer=42, metadata.run='\"7\"'; may be repeated.",
    ),
]
ErrorText = Annotated[
    str | None,
    typer.Option("--error", metavar="TEXT", help="Only jobs whose latest error contains TEXT."),
]

FailureId = Annotated[
    str | None,
    typer.Option(
        "--failure",
        metavar="ID",
        help="Only jobs whose latest error belongs to this failure; see awa failure list.",
        autocompletion=completion.failure_ids,
    ),
]

_FILTERS: Final[dict[str, Any]] = {
    "state": States,
    "kind": Kind,
    "queue": Queue,
    "tag": Tag,
    "since": Since,
    "until": Until,
    "where": Where,
    "error": ErrorText,
    "failure": FailureId,
}
_SWITCHES: Final[dict[str, Any]] = {
    "everything": Annotated[
        bool, typer.Option("--all", help="All jobs that the command can change.")
    ],
    "dry_run": Annotated[
        bool, typer.Option("--dry-run", help="Show the matching jobs; change nothing.")
    ],
    "fail_empty": FailEmpty,
}


def read_options(**given: str | Iterable[str] | None) -> JobQuery:
    """Read the filter that options give, each under its name.  Raises InvalidInput."""
    from awa_cli.filters.query import pairs
    from awa_cli.filters.spelling import OPTIONS

    return OPTIONS.read(pairs(**given))


def hint_at(db: Session, query: JobQuery) -> None:
    """Say which known name is nearest to a name in a filter that nothing has."""
    from awa_cli.filters.spelling import OPTIONS
    from awa_cli.terminal.output import say
    from awa_lib.reads.names import kind_names, queue_names
    from awa_lib.validation import nearest

    named = (("queue", query.get("queue"), queue_names), ("kind", query.get("kind"), kind_names))
    for noun, given, read in named:
        if given is not None and given not in (known := db.run(read())):
            near = nearest(given, known)
            hint = f"; did you mean: {OPTIONS.write([(noun, near)])}" if near else ""
            say(f"no {noun} is known as '{given}'{hint}")


def read_ids(words: Iterable[str]) -> list[int]:
    """Read job ids; ``-`` stands for those on stdin, separated by white space."""
    from awa_cli.input import read_text
    from awa_lib.errors import InvalidInput

    ids: list[int] = []
    for word in words:
        for text in read_text("-").split() if word == "-" else [word]:
            # Python reads no number of more than 4,300 digits.
            if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > INT64_MAX:
                raise InvalidInput(
                    f"{text!r} is not a job id",
                    hint="ids are whole numbers: awa job list -o ids",
                )
            ids.append(int(text))
    return ids


@dataclass(frozen=True, slots=True)
class Selection:
    """The jobs of a change: ids, or a filter, which is confirmed first."""

    ids: list[int]
    query: JobQuery
    everything: bool
    dry_run: bool
    fail_empty: bool
    output: ReportFormat

    @property
    def bulk_filter(self) -> JobFilter:
        """Return the filter of the bulk operation.  Raises InvalidInput."""
        from awa_cli.filters.spelling import OPTIONS

        return OPTIONS.bulk(self.query)


def selecting(command: Callable[..., int]) -> Callable[..., int]:
    """Add ids and filters to the arguments of a command, which gets one ``selection``."""
    own = inspect.signature(command, eval_str=True)
    words = Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID...",
            help="Ids of jobs, or - to read stdin.",
            autocompletion=completion.job_ids,
        ),
    ]
    more: dict[str, tuple[Any, Any]] = {"jobs": (words, None)}
    more |= {name: (kind, None) for name, kind in _FILTERS.items()}
    more |= {name: (kind, False) for name, kind in _SWITCHES.items()}
    more["output"] = (Report, ReportFormat.table)

    def chosen(**given: Any) -> int:
        found = {name: given.pop(name) for name in more}
        query = read_options(**{name: found[name] for name in _FILTERS})
        switches = {name: found[name] for name in (*_SWITCHES, "output")}
        return command(
            selection=Selection(read_ids(found["jobs"] or ()), query, **switches), **given
        )

    kept = [one for one in own.parameters.values() if one.name != "selection"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in more.items()
    ]
    chosen.__signature__ = own.replace(parameters=kept + added)  # type: ignore[attr-defined] # typer reads it
    chosen.__annotations__ = {one.name: one.annotation for one in kept + added}
    chosen.__name__, chosen.__doc__ = command.__name__, command.__doc__
    return chosen
