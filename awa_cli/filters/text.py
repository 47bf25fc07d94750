"""Filters of jobs as one line of text: ``state:failed kind:email since:2h args.customer=42``.

The monitor, the web page of jobs and ``awa tui --filter`` read this form.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from awa_cli.filters.query import Read, fields_of
from awa_cli.filters.spelling import TEXT
from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from awa_cli.filters.query import Pair
    from awa_lib.filters import JobQuery

__all__ = ["add_word", "complete_filter", "read_text", "text_pairs"]

_ROOTS: Final = ("args.", "metadata.")
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"?'
_WORD: Final = re.compile(rf'(?:[^\s"]|{_QUOTED})+', re.DOTALL)
_CONDITION: Final = re.compile(rf'(args|metadata)\.((?:[^\s"=]|{_QUOTED})*)=(.*)', re.DOTALL)


def read_text(text: str, read: Read = Read.JOBS) -> JobQuery:
    """Read a filter; an empty text filters nothing out.  Raises InvalidInput."""
    return TEXT.read(text_pairs(text, read), read)


def text_pairs(text: str, read: Read = Read.JOBS) -> list[Pair]:
    """Return the fields of a filter with their texts, which are not read yet.

    Raises InvalidInput.
    """
    found: list[Pair] = []
    for word in _WORD.findall(text):
        if word.startswith(_ROOTS):
            found.append(("where", _condition(word)))
            continue
        name, colon, value = word.partition(":")
        # A field of jobs is refused by what reads the pairs, which says why.
        known = fields_of(Read.JOBS) | fields_of(read)
        if not colon or name not in known:
            raise _unknown(word, name, read)
        value = _unquoted(value)
        if not value:
            example = known[name].example
            raise InvalidInput(
                f"{name}: has no value", hint=f"write it like {TEXT.write([(name, example)])}"
            )
        found += [(name, one) for one in (value.split(",") if name == "state" else [value])]
    return found


def _condition(word: str) -> str:
    """Return a condition without the quotes of its path."""
    found = _CONDITION.fullmatch(word)
    return f"{found[1]}.{_unquoted(found[2])}={found[3]}" if found else word


def _unquoted(value: str) -> str:
    if '"' not in value:
        return value
    try:
        return "".join(shlex.split(value))
    except ValueError:
        return value.replace('"', "")


def _unknown(word: str, name: str, read: Read) -> InvalidInput:
    from awa_lib.validation import nearest

    known = fields_of(read)
    near = nearest(name, known)
    field = near or ("error" if "error" in known else "name")
    value = word.partition(":")[2] or (known[field].example if near else word)
    words = [f"{one}:" for one in known if one != "where"]
    words += [f"{root}NAME=" for root in _ROOTS if "where" in known]
    return InvalidInput(
        f"{word!r} is no filter",
        why=f"filters are {', '.join(words)}",
        hint=f"did you mean: {field}:{value}" if field in known else None,
    )


def add_word(text: str, name: str, value: str) -> str:
    """Return the filter with this field, in place of another value of it."""
    kept = [word for word in _WORD.findall(text) if not word.startswith(f"{name}:")]
    return " ".join([*kept, TEXT.write([(name, value)])])


def complete_filter(
    text: str, names: Mapping[str, Sequence[str]], read: Read = Read.JOBS
) -> list[str]:
    """Return continuations of the text, the likeliest first.

    ``names`` holds known values by field: kinds, queues, tags.
    """
    head, word = (text[:cut], text[cut:]) if (cut := text.rfind(" ") + 1) else ("", text)
    field, colon, value = word.partition(":")
    fields = fields_of(read)
    if not colon:
        words = [f"{name}:" for name in fields if name != "where"]
        words += _ROOTS if "where" in fields else ()
        return [head + one for one in words if word and one.startswith(word) and one != word]
    known = names.get(field) or (fields[field].choices if field in fields else ())
    if field == "state":
        done, comma, value = value.rpartition(",")
        head = f"{head}{field}:{done}{comma}"
    else:
        head = f"{head}{field}:"
    return [head + one for one in known if one.startswith(value) and one != value]
