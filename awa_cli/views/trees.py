"""JSON values as trees for pages: of a large value a part, and where the rest is found."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Branch", "grow", "resolve"]

# In all, of one value at one time: a page of 300 lines is drawn at once, one of 40,000 takes 6 s.
_MAX_MEMBERS: Final = 300
# Of one mapping or list: the next ones are a step away.
_MAX_SIBLINGS: Final = 200
_MAX_DEPTH: Final = 16
_MAX_CHARACTERS: Final = 2_000
# Longer ones begin closed.
_MAX_OPEN: Final = 20


@dataclass(slots=True)
class Branch:
    """A value of a tree, with its name in what contains it."""

    name: str
    value: Any
    at: str
    """Its JSON Pointer (RFC 6901)."""
    members: list[Branch] | None = None
    """What it contains; None for a scalar, and for what is not shown yet."""
    start: int = 0
    """The number of the first of its members here."""
    depth: int = field(default=0, repr=False)

    @property
    def holds(self) -> bool:
        """Whether it is a mapping or a list with members."""
        return isinstance(self.value, dict | list) and bool(self.value)

    @property
    def size(self) -> str:
        """Its length in words: ``3 keys`` or ``1 item``."""
        return counted(len(self.value), "key" if isinstance(self.value, dict) else "item")

    @property
    def open(self) -> bool:
        """Whether it begins open."""
        return self.members is not None and len(self.value) <= _MAX_OPEN

    @property
    def style(self) -> str:
        """The kind of a scalar: ``text``, ``none`` or ``value``."""
        if isinstance(self.value, str):
            return "text"
        return "none" if self.value is None else "value"

    @property
    def words(self) -> tuple[str, int]:
        """The JSON text of a scalar or its beginning, and how many characters are left out."""
        text = json.dumps(self.value, ensure_ascii=False, default=str)
        return text[:_MAX_CHARACTERS], max(len(text) - _MAX_CHARACTERS, 0)

    @property
    def next_start(self) -> int:
        """The number of the first member that follows those here."""
        return self.start + len(self.members or ())

    @property
    def left(self) -> int:
        """How many members follow those here."""
        return len(self.value) - self.next_start if self.holds else 0


def grow(value: Any, at: str = "", start: int = 0) -> Branch:
    """Return the tree of a value, cut to what a page shows at once.

    Level by level, so that much in the first member does not hide the second.  ``at`` is the
    pointer of the value, and ``start`` the number of its first member that is shown.
    """
    top = Branch("", value, at, start=start)
    waiting, room = deque([top]), _MAX_MEMBERS
    while waiting and room > 0:
        branch = waiting.popleft()
        if not branch.holds or branch.depth >= _MAX_DEPTH:
            continue
        until = branch.start + min(room, _MAX_SIBLINGS)
        branch.members = [
            Branch(name, one, f"{branch.at}/{_escaped(name)}", depth=branch.depth + 1)
            for name, one in islice(_named(branch.value), branch.start, until)
        ]
        room -= len(branch.members)
        waiting.extend(branch.members)
    return top


def _named(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        return ((str(name), one) for name, one in value.items())
    return ((str(number), one) for number, one in enumerate(value))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def resolve(value: Any, at: str) -> Any:
    """Return the value at a JSON Pointer.  Raises LookupError when there is none."""
    if not at:
        return value
    first, *names = at.split("/")
    if first:
        raise LookupError(at)
    for name in names:
        key = name.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 10:  # noqa: PLR2004 - no list is longer
            value = value[int(key)]
        else:
            raise LookupError(at)
    return value
