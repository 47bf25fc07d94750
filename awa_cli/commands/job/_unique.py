"""Which other jobs a new job excludes: ``--unique``, ``--on-conflict``, ``unique`` of a line."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.parser import completion

if TYPE_CHECKING:
    from datetime import timedelta

    from awa_lib.enqueue.unique import UniqueOptions

__all__ = [
    "OnConflict",
    "OnConflictOption",
    "UniqueOption",
    "mode_of",
    "read_unique",
    "unique_of",
]

_PARTS: Final = ("kind", "args", "queue")


class OnConflict(StrEnum):
    """What happens to a job whose unique key is taken."""

    raise_ = "raise"
    skip = "skip"
    return_existing = "return_existing"
    replace_ = "replace"  # str has a method replace


UniqueOption = Annotated[
    list[str] | None,
    typer.Option(
        "--unique",
        metavar="BY",
        help="Refuse a second job of the kind with the same args, queue or fields=NAME, in the "
        "same period=1h, while the first one is states=not_started, not_finished (the default), "
        "any or a state; words are joined by commas, and the option may be repeated.",
        autocompletion=completion.unique_words,
    ),
]
OnConflictOption = Annotated[
    OnConflict,
    typer.Option(
        "--on-conflict",
        help="If another job holds the unique key: fail, enqueue nothing, show that job, or give "
        "it the new args and start while it waits.",
    ),
]


def mode_of(on_conflict: OnConflict, *, keyed: bool) -> str | None:
    """Return the mode, None by default.  Raises InvalidInput without a key that may be taken."""
    from awa_lib.errors import InvalidInput

    if on_conflict is OnConflict.raise_:
        return None
    if not keyed:
        raise InvalidInput(
            f"--on-conflict {on_conflict} needs --unique",
            why="jobs without a unique key never conflict",
            hint=f"write it like --unique args --on-conflict {on_conflict}",
        )
    return str(on_conflict)


def read_unique(texts: list[str]) -> UniqueOptions | None:
    """Read words as of ``awa_lib.Unique``: ``args``, ``by=queue``, ``period=1h``, ``states=any``.

    Words are joined by commas or given one by one.  Periods go by the clock of the database.
    """
    from awa_cli.clock import asked
    from awa_lib.enqueue.unique import Unique
    from awa_lib.errors import InvalidInput
    from awa_lib.states import STATES

    if not texts:
        return None
    said: dict[str, list[str]] = {"by": [], "fields": [], "states": [], "period": []}
    for word in (one for text in texts for one in text.split(",")):
        name, equals, value = word.partition("=")
        if not equals:
            name, value = "by", word
        if name not in said or not value or (name == "by" and value not in _PARTS):
            raise InvalidInput(
                f"--unique {word!r} is not valid",
                why="words are args, queue, kind, fields=NAME, period=DURATION and states=STATE",
                hint="write it like --unique args or --unique by=args,states=any,period=1h",
            )
        said[name].append(value)
    if not said["by"] and not said["fields"] and not said["period"]:
        raise InvalidInput(
            "--unique does not say by what jobs are compared",
            hint="write it like --unique args,states=any",
        )
    states = said["states"] or ["not_finished"]
    unique = Unique(
        by=said["by"] or "kind",
        fields=said["fields"] or None,
        states=states[0] if len(states) == 1 and states[0] not in STATES else states,
        period=_period(said["period"]),
    )
    return unique.options(asked().timestamp() if said["period"] else None)


def _period(texts: list[str]) -> timedelta | None:
    from datetime import timedelta

    from awa_cli.filters.values import read_duration
    from awa_lib.errors import InvalidInput

    if not texts:
        return None
    if len(texts) > 1:
        raise InvalidInput("--unique has two periods", hint="write one of them")
    length = read_duration(texts[0], "--unique period")
    if length < timedelta(seconds=1):
        raise InvalidInput(
            "--unique period is shorter than 1 second",
            hint="write it like --unique period=1h",
        )
    return length


def unique_of(said: Any, args: Any) -> UniqueOptions:
    """Read the JSON object ``unique`` of a line: the options of ``awa_lib.Unique`` by name.

    Periods go by the clock of the database.  Raises InvalidInput, also if the args lack a field.
    """
    from dataclasses import fields

    from awa_cli.clock import asked
    from awa_lib.enqueue.unique import Unique
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import unknown_word

    if not isinstance(said, dict):
        raise InvalidInput(
            "unique is not a JSON object",
            hint='write it like "unique": {"by": "args", "states": "any", "period": "1h"}',
        )
    known = [one.name for one in fields(Unique)]
    for name in said:
        if name not in known:
            raise unknown_word(f"unique has an unknown word {name!r}", name, known)
    unique = Unique(**said).options(asked().timestamp() if said.get("period") else None)
    unique.args(args)
    return unique
