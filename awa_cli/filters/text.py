"""Filters of jobs as one line of text: ``state:failed kind:email since:2h args.customer=42``.

The same words as the options of ``awa job list``; the monitor's filter bar and ``--filter`` read
them here.
"""

from __future__ import annotations

import json
import re
import shlex
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from awa_lib.states import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from awa_lib.reads.jobs import JobQuery

__all__ = [
    "FIELDS", "add_word", "complete_filter", "filter_line", "filter_params", "read_filter",
    "read_limited",
]  # fmt: skip

FIELDS: Final = ("state", "kind", "queue", "tag", "since", "until", "error")
_PATHS: Final = ("args.", "metadata.")
_EVERY: Final = [f"{name}:" for name in FIELDS]
_SPANS: Final = ("15m", "1h", "2h", "24h", "7d")
_WORD: Final = re.compile(r'(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+')


def read_filter(text: str) -> JobQuery:
    """Read a filter; an empty text is none.  Raises InvalidInput."""
    from awa_cli.parser.job_options import read_query
    from awa_lib.errors import InvalidInput

    given = filter_params(text)
    states, where = given.pop("state", []), given.pop("where", [])
    query: Any = read_query
    try:
        found: JobQuery = query(
            states=states, where=where, **{name: one for name, (one,) in given.items()}
        )
    except InvalidInput as error:
        # The words of an option become those of this text.
        raise InvalidInput(_reworded(str(error)), why=error.why, hint=_hint(error.hint)) from None
    return found


def filter_params(text: str) -> dict[str, list[str]]:
    """Return what a filter says under the names of the options of ``awa job list``.

    The values are not read yet.  Raises InvalidInput.
    """
    from awa_lib.errors import InvalidInput

    given: dict[str, list[str]] = {}
    for word in _WORD.findall(text):
        if word.startswith(_PATHS):
            given.setdefault("where", []).append(word)
            continue
        name, colon, value = word.partition(":")
        if not colon or name not in FIELDS:
            raise _unknown(word, name)
        value = _unquoted(value)
        if not value:
            raise InvalidInput(f"{name}: has no value", hint=f"write it like {name}:{_like(name)}")
        if name == "state":
            given.setdefault("state", []).extend(value.split(","))
        elif name in given:
            raise InvalidInput(
                f"{name}: is given twice", why="a job has to fit all of a filter", hint="leave one"
            )
        else:
            given[name] = [value]
    return given


def filter_line(params: Mapping[str, Sequence[str]]) -> str:
    """Return the text of a filter that is given as options."""
    words = []
    if states := params.get("state"):
        words.append(f"state:{','.join(states)}")
    words += [f"{name}:{_quoted(params[name][0])}" for name in FIELDS[1:] if params.get(name)]
    return " ".join([*words, *map(_condition, params.get("where", ()))])


def _condition(text: str) -> str:
    """Write a condition as one word."""
    path, _, value = text.partition("=")
    if re.fullmatch(r'[^\s"]*', value):
        return text
    with suppress(ValueError):
        value = json.loads(value)
    return f"{path}={json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"


def read_limited(text: str, fields: Sequence[str]) -> JobQuery:
    """Read a filter that takes these fields only.  Raises InvalidInput."""
    from awa_lib.errors import InvalidInput

    for word in _WORD.findall(text):
        name = word.partition(":")[0]
        if word.startswith(_PATHS) or (name in FIELDS and name not in fields):
            raise InvalidInput(
                f"{word!r} does not filter here",
                why=f"filters here are {', '.join(f'{one}:' for one in fields)}",
            )
    return read_filter(text)


def add_word(text: str, name: str, value: str) -> str:
    """Return the filter with one word more, in place of another of that name."""
    kept = [word for word in _WORD.findall(text) if not word.startswith(f"{name}:")]
    return " ".join([*kept, f"{name}:{_quoted(value)}"])


def complete_filter(
    text: str, names: Mapping[str, Sequence[str]], fields: Sequence[str] | None = None
) -> list[str]:
    """Return what the text may go on to, the likeliest first.

    ``names`` holds what is known by field: kinds, queues, tags.  ``fields`` are those that the
    filter takes; all for None.
    """
    head, word = (text[:cut], text[cut:]) if (cut := text.rfind(" ") + 1) else ("", text)
    field, colon, value = word.partition(":")
    if not colon:
        words = [f"{name}:" for name in fields] if fields else [*_EVERY, *_PATHS]
        return [head + one for one in words if word and one.startswith(word) and one != word]
    known: Sequence[str] = names.get(field, ())
    if field == "state":
        done, comma, value = value.rpartition(",")
        head, known = f"{head}{field}:{done}{comma}", STATES
    else:
        head = f"{head}{field}:"
        known = _SPANS if field in {"since", "until"} else known
    return [head + one for one in known if one.startswith(value) and one != value]


def _quoted(value: str) -> str:
    if re.fullmatch(r'[^\s"]+', value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unquoted(value: str) -> str:
    if '"' not in value:
        return value
    try:
        return "".join(shlex.split(value))
    except ValueError:
        return value.replace('"', "")


def _unknown(word: str, name: str) -> Exception:
    from awa_lib.errors import InvalidInput

    near = get_close_matches(name, FIELDS, n=1)
    field = near[0] if near else "error"
    value = word.partition(":")[2] or ("failed" if near else word)
    return InvalidInput(
        f"{word!r} is no filter",
        why=f"filters are {', '.join(f'{one}:' for one in FIELDS)}, args.NAME= and metadata.NAME=",
        hint=f"did you mean: {field}:{value}",
    )


def _like(name: str) -> str:
    return {"state": "failed", "since": "2h", "until": "1h", "error": "timeout"}.get(name, "email")


def _reworded(text: str) -> str:
    return re.sub(r"--(?:where )?(since|until)? ?", lambda m: f"{m[1]}: " if m[1] else "", text)


def _hint(text: str | None) -> str | None:
    if text is None:
        return None
    return re.sub(r"--(\w+) ", lambda m: "" if m[1] == "where" else f"{m[1]}:", text)
