"""What a bulk operation does, in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from awa_lib.models import BulkOperation

__all__ = ["done_words", "filter_words", "operation_words", "share_of"]


def operation_words(one: BulkOperation) -> str:
    """Say what the jobs get: ``move to queue slow``."""
    if "priority" in one.spec:
        return f"set priority {one.spec['priority']}"
    if "to_queue" in one.spec:
        return f"move to queue {one.spec['to_queue']}"
    return one.operation.replace("_", " ")


def filter_words(where: Mapping[str, Any]) -> str:
    """Say which jobs: ``failed jobs of kind send_email in queue email``.

    Parts that are not known here are given as they are.
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
        "error": "whose error says “{}”",
        "args": "whose args hold {}",
    }
    for name, form in parts.items():
        if name in given:
            words.append(form.format(_said(given.pop(name))))
    words += [f"with {name} {_said(value)}" for name, value in given.items()]
    return " ".join(words)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def share_of(one: BulkOperation) -> int:
    """Return how far it is in percent; only what is over is whole."""
    if one.state == "completed":
        return 100
    over = one.processed + one.skipped + one.errored
    return min(99, 100 * over // max(one.total_matched, 1))


def done_words(one: BulkOperation) -> str:
    """Say how many jobs it came to."""
    return f"{one.processed:,} of {one.total_matched:,}"
