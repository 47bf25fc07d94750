"""Schedule files: reading, comparing with the database, writing."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from awa_cli.input import parse_toml, read_text
from awa_lib.errors import AwaError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.ops.cron import Schedule
    from awa_lib.reads.cron import CronJob

__all__ = ["Change", "Wanted", "compare", "read_file", "to_records"]

_DEFAULTS: Final[dict[str, Any]] = {
    "timezone": "UTC",
    "queue": "default",
    "args": {},
    "priority": 2,
    "max_attempts": 25,
    "tags": [],
    "metadata": {},
    "missed_fire_policy": "coalesce",
    "catch_up_limit": 1,
    "jitter_seconds": 0.0,
    "paused": False,
}
_REQUIRED: Final = ("name", "cron_expr", "kind")
# Ten aliases of ten aliases, ten times over, would fill the memory.
_LONGEST: Final = 10_000_000
_FIELDS: Final = (*_REQUIRED, *_DEFAULTS)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One schedule of a file."""

    schedule: Schedule
    paused: bool


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a file does to one schedule: ``add``, ``change``, ``remove`` or ``keep``.

    ``fields`` holds the old and the new value of each field that differs.
    """

    name: str
    change: str
    fields: dict[str, list[Any]] = field(default_factory=dict)

    def shifts_pause(self, paused: bool) -> bool:
        """Return whether the schedule must be paused or resumed to become ``paused``."""
        return paused if self.change == "add" else "paused" in self.fields


def read_file(name: str) -> list[Wanted]:
    """Read a YAML or TOML file, or YAML on stdin for ``-``.  Raises InvalidInput."""
    found = _parse(name, read_text(name))
    records = found.get("schedules") if isinstance(found, dict) else None
    if not isinstance(records, list):
        raise InvalidInput(
            f"{name!r} has no schedules",
            why="a list named 'schedules' is expected",
            hint="see the format: awa cron export",
        )
    wanted = [_wanted(number, record) for number, record in enumerate(records, 1)]
    names = [one.schedule.name for one in wanted]
    twice = next((one for one, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InvalidInput(f"schedule {twice!r} appears twice in {name!r}")
    return wanted


def _parse(name: str, text: str) -> Any:
    try:
        if name.endswith(".toml"):
            return parse_toml(text)
        import yaml

        # The loader in Python takes the square of the depth of nesting.
        found = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except Exception as error:  # noqa: BLE001 - each parser has its own errors
        kind = "TOML" if name.endswith(".toml") else "YAML"
        why = " ".join(str(error).split())
        if "int_max_str_digits" in why:
            why = "a number is too long"
        raise InvalidInput(f"{name!r} is not {kind}", why=why) from None
    if _length(found, {}) > _LONGEST:
        raise InvalidInput(
            f"{name!r} is too long",
            why=f"written without its aliases it has more than {_LONGEST:,} characters",
            hint="use fewer aliases, or several files",
        )
    return found


def _length(value: Any, known: dict[int, int]) -> int:
    """Return about how long a value of YAML is when its aliases are written out."""
    if not isinstance(value, dict | list):
        return 1 + (len(value) if isinstance(value, str | bytes) else 0)
    if id(value) not in known:
        known[id(value)] = _LONGEST  # if it contains itself
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_length(part, known) for part in parts)
    return known[id(value)]


def _wanted(number: int, record: Any) -> Wanted:
    from awa_lib.ops.cron import Schedule

    where = f"schedule {number}"
    if not isinstance(record, dict):
        raise InvalidInput(f"{where} is not a mapping of fields")
    where = f"schedule {record.get('name', number)!r}"
    for key in record:
        if key not in _FIELDS:
            from awa_lib.validation import did_you_mean

            raise InvalidInput(
                f"{where} has an unknown field {key!r}",
                why=f"fields are {', '.join(_FIELDS)}",
                hint=did_you_mean(key, _FIELDS),
            )
    for key in _REQUIRED:
        if key not in record:
            raise InvalidInput(f"{where} has no {key}")
    values = _DEFAULTS | record
    paused = values.pop("paused")
    if not isinstance(paused, bool) or not isinstance(values["kind"], str):
        raise InvalidInput(f"{where}: kind must be text, and paused true or false")
    try:
        return Wanted(Schedule.build(**values), paused)
    except AwaError as error:
        raise InvalidInput(f"{where}: {error}", why=error.why, hint=error.hint) from None
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{where}: {error}") from None


def compare(wanted: Sequence[Wanted], present: Sequence[CronJob], *, prune: bool) -> list[Change]:
    """Return the changes, sorted by name; ``prune`` removes schedules that are not in the file."""
    old = {one["name"]: one for one in to_records(present, whole=True)}
    changes = []
    for one in wanted:
        new = _record(one)
        before = old.pop(one.schedule.name, None)
        if before is None:
            changes.append(Change(one.schedule.name, "add"))
            continue
        differing = {key: [before[key], new[key]] for key in _FIELDS if before[key] != new[key]}
        kind = "change" if differing else "keep"
        changes.append(Change(one.schedule.name, kind, differing))
    changes += [Change(name, "remove") for name in old if prune]
    return sorted(changes, key=lambda change: change.name)


def _record(one: Wanted) -> dict[str, Any]:
    values = {key: getattr(one.schedule, key) for key in _FIELDS if key != "paused"}
    for key in ("args", "metadata"):
        values[key] = json.loads(values[key])
    return values | {"paused": one.paused}


def to_records(present: Sequence[CronJob], *, whole: bool = False) -> list[dict[str, Any]]:
    """Return schedules in the form of a file; without ``whole``, defaults are left out."""
    records = []
    for one in present:
        values = {key: getattr(one, key) for key in _FIELDS if key != "paused"}
        values["paused"] = one.paused_at is not None
        records.append(
            {
                key: value
                for key, value in values.items()
                if whole or key in _REQUIRED or value != _DEFAULTS[key]
            }
        )
    return records
