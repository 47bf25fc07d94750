"""The findings of the doctor."""

from __future__ import annotations

import textwrap
from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Final

from awa_cli.terminal.colors import Paint
from awa_cli.views.states import SEVERITY_STYLES
from awa_cli.views.words import clean, counted
from awa_lib.doctor import CHECKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.doctor import Finding

__all__ = ["doctor_page"]

_WORDS: Final = {"error": "error", "warning": "warn", "note": "note", "ok": "ok"}
_WIDEST: Final = 100
_MARGIN: Final = 8
# A longer remedy is meant for a pipe, so its command is shown instead.
_REMEDY_LINES: Final = 3


def doctor_page(findings: Sequence[Finding], checked: int, *, width: int, color: bool) -> str:
    """Lay out the findings by area, the worst area first; the last line is a summary.

    ``checked`` is the number of checks that ran.
    """
    paint = Paint(color=color)
    width = min(width, _WIDEST)
    lines: list[str] = []
    areas = list(dict.fromkeys(CHECKS[one.check].area for one in findings))
    for area in areas:
        lines.append(paint(area, "bold"))
        mine = [one for one in findings if CHECKS[one.check].area == area]
        for _, group in groupby(mine, key=lambda one: (one.severity, one.what, one.do)):
            lines += _finding_lines(list(group), width, paint)
        lines.append("")
    return "\n".join([*lines, _summary(findings, checked, paint)]) + "\n"


def _finding_lines(same: list[Finding], width: int, paint: Paint) -> list[str]:
    """Lay out a finding; checks that could not run for the same reason share it."""
    one = same[0]
    names = ", ".join(dict.fromkeys(each.check for each in same))
    word = f"{_WORDS[one.severity] + ':':>{_MARGIN - 1}} "
    lines = _wrapped(word, f"{clean(one.what)}  [{names}]", width)
    lines[0] = paint(word, SEVERITY_STYLES[one.severity]) + lines[0][_MARGIN:]
    tag = f"[{names}]"
    lines[-1] = lines[-1].replace(tag, paint(tag, "dim"))
    if one.why:
        why = _wrapped("   why: ", clean(one.why), width)
        lines += [paint(why[0][:_MARGIN], "dim") + why[0][_MARGIN:], *why[1:]]
    if one.do:
        lines += _remedy(one, paint)
    return lines


def _wrapped(head: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=head,
        subsequent_indent=" " * _MARGIN,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _remedy(one: Finding, paint: Paint) -> list[str]:
    """Lay out what to do without wrapping, because it is copied."""
    commands = [clean(line) for line in (one.do or "").splitlines()]
    if len(commands) > _REMEDY_LINES:
        pipe = "-o template='{do}' | psql \"$DATABASE_URL\""
        commands = [f"awa doctor --check {one.check} {pipe}"]
    head = paint("    do: ", "cyan")
    return [head + commands[0], *(" " * _MARGIN + line for line in commands[1:])]


def _summary(findings: Sequence[Finding], checked: int, paint: Paint) -> str:
    count = Counter(one.severity.value for one in findings)
    found = {one.check for one in findings if one.severity != "ok"}
    parts = [
        paint(counted(count[name], name), SEVERITY_STYLES[name])
        for name in ("error", "warning", "note")
        if count[name]
    ]
    rest = checked - len(found)
    fine = f"{counted(rest, 'check')} found nothing"
    if not parts:
        return paint(f"All is well: {fine}.", "green")
    wrong = count["error"] or count["warning"]
    head = "" if wrong else paint("Nothing is wrong", "green") + ": "
    return f"{head}{', '.join(parts)}{f'; {fine}' if rest else ''}."
