"""What stands before the next step of a move to another storage engine, in people's words.

The report has the published sentences, which scripts compare.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.storage import StorageReport

__all__ = ["REST", "moving", "steps_ahead"]

REST: Final = "No move is under way, and none is needed: jobs are in the canonical tables."

_WANTED: Final = r' \(expected Some\("(\w+)"\)\)'
_WORDS: Final = (
    (r"state is '(\w+)' \(expected '(\w+)'\)", r"the state is \1; it must be \2 first"),
    (r"prepared_engine is None" + _WANTED, r"no engine is prepared; \1 must be"),
    (r"prepared_engine is Some\((.*)\)" + _WANTED, r"\1 is prepared; \2 must be"),
    (r"(\d+) canonical-only runtime\(s\) are still live", r"live workers of the old engine: \1"),
    (r"(\d+) canonical or drain-only runtime.*live", r"live workers of the old engine: \1"),
    (r"no live queue-storage-capable runtimes.*", "no live worker knows the new engine"),
    (r"canonical live backlog is (\d+)", r"jobs in the canonical tables: \1"),
    (r"prepared queue-storage schema is (missing .*)", r"the prepared schema is \1"),
)


def _in_words(blocker: str) -> str:
    """Say a published sentence in plain words; what is not known stays as it is."""
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, blocker):
            return found.expand(words)
    return blocker


def moving(report: StorageReport) -> bool:
    """Say whether a move was begun, so that what is in its way is worth a warning."""
    return report.state != "canonical" or report.prepared_engine is not None


def steps_ahead(report: StorageReport) -> list[tuple[str, Sequence[str]]]:
    """Return the steps with what stands before each, worded for people."""
    return [
        ("To enter the mixed transition", _said(report.enter_mixed_transition_blockers)),
        ("To finalize", _said(report.finalize_blockers)),
    ]


def _said(blockers: Sequence[str]) -> list[str]:
    return [_in_words(one) for one in blockers]
