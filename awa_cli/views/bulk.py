"""Bulk operations in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib.models import BulkOperation

__all__ = ["done_words", "filter_words", "operation_words", "share_of"]


def operation_words(one: BulkOperation) -> str:
    """Return the change in words: ``move to queue slow``."""
    if "priority" in one.spec:
        return f"set priority {one.spec['priority']}"
    if "to_queue" in one.spec:
        return f"move to queue {one.spec['to_queue']}"
    return one.operation.replace("_", " ")


def filter_words(where: Mapping[str, Any]) -> str:
    """Return a filter in words: ``failed jobs of kind send_email in queue email``.

    Unknown conditions are written as name and value.
    """
    if not where:
        return "all jobs"
    given = dict(where)
    state = str(given.pop("state", "")).replace("_", " ")
    words = [f"{state} jobs".lstrip()]
    parts = {
        "kind": "of kind {}",
        "queue": "in queue {}",
        "tag": "tagged {}",
        "created_after": "created since {}",
        "created_before": "created before {}",
        "error": "whose error contains “{}”",
        "failure": "of failure {}",
        "args": "whose args contain {}",
    }
    for name, form in parts.items():
        if name in given:
            words.append(form.format(_text(given.pop(name))))
    words += [f"with {name} {_text(value)}" for name, value in given.items()]
    return " ".join(words)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def share_of(one: BulkOperation) -> int | None:
    """Return the progress in percent: 100 only when it has completed, None of no jobs."""
    if not one.total_matched:
        return None
    if one.state == "completed":
        return 100
    done = one.processed + one.skipped + one.errored
    return min(99, 100 * done // max(one.total_matched, 1))


def done_words(one: BulkOperation) -> str:
    """Return the number of processed jobs and of all jobs."""
    return f"{one.processed:,} of {one.total_matched:,}"
