"""Conditions on the numbers of a row: ``lag>60s``, ``email.failed>=10``."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from awa_lib.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Condition", "read_condition"]

_COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_FORM: Final = re.compile(r"(?:(.+)\.)?([a-z_0-9]+)\s*(>=|<=|==|!=|=|>|<)\s*(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """A comparison of ``field`` with a number; ``name`` restricts it to one row."""

    text: str
    name: str | None
    field: str
    compare: Callable[[float, float], bool]
    bound: float
    key: str

    def held(self, row: Any) -> str | None:
        """Return a sentence if the condition holds for a row, else None.

        It does not hold for a row without a value.
        """
        value = getattr(row, self.field)
        if value is None or self.name not in (None, getattr(row, self.key)):
            return None
        if not self.compare(float(value), self.bound):
            return None
        from awa_cli.views.words import clean, span

        shown = span(value) if self.field.endswith("_seconds") else str(value)
        return f"{clean(getattr(row, self.key))}: {self.text} holds; the value is {shown}"


def read_condition(text: str, row: type, key: str) -> Condition:
    """Parse a condition on the number fields of a read model.  Raises InvalidInput."""
    from awa_cli.filters.values import read_duration

    hint = "write it like --fail-if 'lag>60s' or --fail-if 'email.failed>=10'"
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise InvalidInput(f"the condition {text!r} is not valid", hint=hint)
    name, word, sign, value = found.groups()
    known = [one.name for one in fields(row) if str(one.type) not in {"str", "<class 'str'>"}]
    names = {one.removesuffix("_seconds"): one for one in known} | {one: one for one in known}
    if word not in names:
        from awa_lib.validation import did_you_mean

        raise InvalidInput(
            f"unknown field {word!r} in the condition {text!r}",
            why=f"fields are {', '.join(sorted(set(names) - {'lag_seconds'}))}",
            hint=did_you_mean(word, names) or hint,
        )
    field = names[word]
    if field.endswith("_seconds"):
        bound = read_duration(value, "--fail-if").total_seconds()
    else:
        try:
            bound = float({"true": 1, "false": 0}.get(value, value))
        except ValueError:
            raise InvalidInput(
                f"the condition {text!r} has no number to compare with", hint=hint
            ) from None
    return Condition(text, name, field, _COMPARE[sign], bound, key)
