"""The blockers of a storage transition in plain words.

The report itself has the sentences of awa 0.5, which scripts compare.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.storage import StorageReport

__all__ = ["REST", "moving", "steps_ahead"]

REST: Final = "No transition is in progress, and none is needed: jobs are in the canonical tables."

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


def _word(blocker: str) -> str:
    """Return a sentence of awa 0.5 in plain words; an unknown sentence is returned unchanged."""
    for pattern, words in _WORDS:
        if found := re.fullmatch(pattern, blocker):
            return found.expand(words)
    return blocker


def moving(report: StorageReport) -> bool:
    """Return whether a transition has started, so that its blockers deserve a warning."""
    return report.state != "canonical" or report.prepared_engine is not None


def steps_ahead(report: StorageReport) -> list[tuple[str, Sequence[str]]]:
    """Return each step with its blockers in plain words."""
    return [
        ("To enter the mixed transition", _in_words(report.enter_mixed_transition_blockers)),
        ("To finalize", _in_words(report.finalize_blockers)),
    ]


def _in_words(blockers: Sequence[str]) -> list[str]:
    return [_word(blocker) for blocker in blockers]
