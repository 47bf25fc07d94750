"""Options of ``awa job enqueue``: when a job may start, and which other jobs it excludes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from awa_lib.enqueue.unique import UniqueOptions

__all__ = ["read_debounce", "read_unique", "start"]

_PARTS: Final = ("kind", "args", "queue")


def start(run_at: str | None, delay: str | None) -> dict[str, Any]:
    """Return the options of an insert that say when the job may start."""
    from awa_cli.filters.values import read_duration, read_moment
    from awa_lib.errors import InvalidInput

    if run_at is not None and delay is not None:
        raise InvalidInput("--run-at and --delay cannot be used together", hint="use one of them")
    if delay is not None:
        return {"delay": read_duration(delay, "--delay")}
    return {} if run_at is None else {"run_at": read_moment(run_at, "--run-at")}


def read_debounce(
    debounce: str | None, max_wait: str | None, others: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the options of an insert that waits for the last of several jobs, or none."""
    from awa_cli.filters.values import read_duration
    from awa_lib.errors import InvalidInput

    if debounce is None:
        if max_wait is not None:
            raise InvalidInput(
                "--max-wait needs --debounce", hint="write it like --debounce 5s --max-wait 1m"
            )
        return {}
    for name, value in others.items():
        if value is not None:
            raise InvalidInput(
                f"--debounce and {name} cannot be used together", hint="use one of them"
            )
    waits: dict[str, Any] = {"debounce": read_duration(debounce, "--debounce")}
    if max_wait is not None:
        waits["max_wait"] = read_duration(max_wait, "--max-wait")
    return waits


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
