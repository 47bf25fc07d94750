"""Say which jobs a command is about: options that filter, each declared once."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.parser import completion
from awa_cli.parser.options import FailEmpty, Report, ReportFormat
from awa_lib.validation import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from awa_cli.database.session import Session
    from awa_lib.reads.jobs import JobQuery

__all__ = [
    "ErrorText", "Kind", "Queue", "Selection", "Since", "States", "Tag", "Until", "Where",
    "bulk_filters", "hint_at", "read_ids", "read_query", "selecting",
]  # fmt: skip

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

_FILTERS: Final[dict[str, Any]] = {
    "state": States, "kind": Kind, "queue": Queue, "tag": Tag, "since": Since, "until": Until,
    "where": Where, "error": ErrorText,
}  # fmt: skip
_SWITCHES: Final[dict[str, Any]] = {
    "everything": Annotated[
        bool, typer.Option("--all", help="All jobs that the command can change.")
    ],
    "dry_run": Annotated[
        bool, typer.Option("--dry-run", help="Show the matching jobs; change nothing.")
    ],
    "fail_empty": FailEmpty,
}
_PATH: Final = re.compile(r"(args|metadata)\.([^=]+)=(.*)", re.DOTALL)


def read_query(
    *,
    states: Iterable[str] | None = None,
    kind: str | None = None,
    queue: str | None = None,
    tag: str | None = None,
    since: str | None = None,
    until: str | None = None,
    where: Iterable[str] | None = None,
    error: str | None = None,
) -> JobQuery:
    """Read the filters.  Raises InvalidInput."""
    from awa_cli.filters.values import read_state

    objects: dict[str, dict[str, Any]] = {}
    for condition in where or ():
        _contain(objects, condition)
    return {
        "states": [read_state(one) for text in states or () for one in text.split(",")],
        "kind": kind,
        "queue": queue,
        "tag": tag,
        "since": None if since is None else _when(since, "--since"),
        "until": None if until is None else _when(until, "--until"),
        "args": objects.get("args"),
        "metadata": objects.get("metadata"),
        "error": error,
    }


def _when(text: str, option: str) -> datetime:
    """Read a moment, or how long ago."""
    from awa_cli.filters.values import read_duration, read_moment
    from awa_lib.errors import InvalidInput

    if re.match(r"\d{4}-", text):
        return read_moment(text, option)
    try:
        return datetime.now(UTC) - read_duration(text.removesuffix(" ago"), option)
    except (InvalidInput, OverflowError):
        raise InvalidInput(
            f"{option} {text!r} is neither a duration nor a moment",
            hint=f"write it like {option} 2h or {option} 2030-01-31T08:00:00Z",
        ) from None


def _contain(objects: dict[str, dict[str, Any]], condition: str) -> None:
    import json

    from awa_lib.errors import InvalidInput

    found = _PATH.fullmatch(condition)
    if found is None or "" in found[2].split("."):
        raise InvalidInput(
            f"--where {condition!r} cannot be read",
            hint="write it like --where args.customer=42 or --where 'args.to=\"a@example.org\"'",
        )
    try:
        value = json.loads(found[3])
    except ValueError:
        value = found[3]
    at: Any = objects.setdefault(found[1], {})
    *parents, last = found[2].split(".")
    for name in parents:
        at = at.setdefault(name, {})
        if not isinstance(at, dict):
            raise InvalidInput(f"--where {condition!r} contradicts another one")
    at[last] = value


def bulk_filters(query: JobQuery) -> dict[str, Any]:
    """Return the filters under the names a bulk operation has for them.  Raises InvalidInput."""
    from awa_lib.errors import InvalidInput

    given: dict[str, Any] = {
        name: value for name, value in query.items() if value not in (None, [])
    }
    states = given.pop("states", [])
    if len(states) > 1:
        raise InvalidInput(
            "one --state at a time", hint="run it once for each, or leave --state out"
        )
    if "metadata" in given:
        raise InvalidInput(
            "--where takes args.… here",
            hint="for metadata: awa job list --where metadata.a=1 --all -o ids | awa job … -",
        )
    names = {"since": "created_after", "until": "created_before"}
    renamed = {names.get(name, name): value for name, value in given.items()}
    return renamed | ({"state": states[0]} if states else {})


def hint_at(db: Session, query: JobQuery) -> None:
    """Remark which name may have been meant where a filter names none that is known."""
    from difflib import get_close_matches

    from awa_cli.terminal.output import say
    from awa_lib.reads.names import kind_names, queue_names

    for noun, given, read in (
        ("queue", query.get("queue"), queue_names), ("kind", query.get("kind"), kind_names),
    ):  # fmt: skip
        if given is not None and given not in (known := db.run(read())):
            close = get_close_matches(given, known, n=1)
            near = f"; did you mean: --{noun} {close[0]}" if close else ""
            say(f"no {noun} is known as '{given}'{near}")


def read_ids(words: Iterable[str]) -> list[int]:
    """Read job ids; ``-`` stands for those on stdin, separated by white space."""
    import sys

    from awa_lib.errors import InvalidInput

    ids: list[int] = []
    for word in words:
        for text in sys.stdin.read().split() if word == "-" else [word]:
            if not text.isascii() or not text.isdecimal() or int(text) > INT64_MAX:
                raise InvalidInput(
                    f"{text!r} is not a job id",
                    hint="ids are whole numbers: awa job list -o ids",
                )
            ids.append(int(text))
    return ids


@dataclass(frozen=True, slots=True)
class Selection:
    """The jobs a change is about: ids, or a filter that somebody has to agree to."""

    ids: list[int]
    query: JobQuery
    everything: bool
    dry_run: bool
    fail_empty: bool
    output: ReportFormat

    @property
    def filters(self) -> dict[str, Any]:
        """Return the filters that were given."""
        return {name: value for name, value in self.query.items() if value not in (None, [])}


def selecting(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command ids and filters as its last arguments; it gets them as one ``selection``."""
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
        query = read_query(
            states=found["state"], **{name: found[name] for name in _FILTERS if name != "state"}
        )
        switches = {name: found[name] for name in (*_SWITCHES, "output")}
        return command(
            selection=Selection(read_ids(found["jobs"] or ()), query, **switches), **given
        )

    kept = [one for one in own.parameters.values() if one.name != "selection"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in more.items()
    ]
    chosen.__signature__ = own.replace(parameters=kept + added)  # type: ignore[attr-defined]
    chosen.__annotations__ = {one.name: one.annotation for one in kept + added}
    chosen.__name__, chosen.__doc__ = command.__name__, command.__doc__
    return chosen
