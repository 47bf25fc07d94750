"""Changes of dead letters: of selected dead letters, and of all that match a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.tui.changes.change import Change
from awa_cli.tui.changes.jobs import one_by_one
from awa_cli.views.words import counted
from awa_lib.ops import dead_letters as ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.dead_letters import DeadLetter

__all__ = ["purge", "purge_all", "retry", "retry_all"]

_NOUN: Final = "dead letter"


def retry(rows: Sequence[DeadLetter]) -> Change:
    """Return the change that retries dead letters."""
    return one_by_one("dlq.retry", _describe(rows), ops.retry_from_dlq, rows, noun=_NOUN)


def purge(rows: Sequence[DeadLetter]) -> Change:
    """Return the change that deletes dead letters."""
    return one_by_one("dlq.purge", _describe(rows), ops.purge_dlq_job, rows, noun=_NOUN)


def retry_all(where: Any) -> Change:
    """Return the change that retries all dead letters that match; without a filter, every one."""
    op = ops.bulk_retry_from_dlq
    return Change("dlq.retry-all", _matching(where), lambda: op(all=not where, **where))


def purge_all(where: Any) -> Change:
    """Return the change that deletes all dead letters that match; without a filter, every one."""
    op = ops.purge_dlq
    return Change("dlq.purge-all", _matching(where), lambda: op(all=not where, **where))


def _matching(where: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in where.items()) or "every queue"


def _describe(rows: Sequence[DeadLetter]) -> str:
    if len(rows) == 1:
        return f"dead letter {rows[0].id} ({rows[0].kind})"
    return counted(len(rows), _NOUN)
