"""Changes of dead letters: of those that are picked, and of all that fit a filter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_cli.tui.changes.change import Deed
from awa_cli.tui.changes.jobs import one_by_one
from awa_cli.views.words import counted
from awa_lib.ops import dead_letters as ops

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib.reads.dead_letters import DeadLetter

__all__ = ["purge", "purge_all", "retry", "retry_all"]

_THING: Final = "dead letter"


def retry(letters: Sequence[DeadLetter]) -> Deed:
    """Make the deed that makes dead letters jobs again."""
    return one_by_one("dlq.retry", _said(letters), ops.retry_from_dlq, letters, thing=_THING)


def purge(letters: Sequence[DeadLetter]) -> Deed:
    """Make the deed that deletes dead letters."""
    return one_by_one("dlq.purge", _said(letters), ops.purge_dlq_job, letters, thing=_THING)


def retry_all(where: Any) -> Deed:
    """Make the deed that makes all that fit jobs again; no filter means every one."""
    op = ops.bulk_retry_from_dlq
    return Deed("dlq.retry-all", _fitting(where), lambda: op(all=not where, **where))


def purge_all(where: Any) -> Deed:
    """Make the deed that deletes all that fit; no filter means every one."""
    op = ops.purge_dlq
    return Deed("dlq.purge-all", _fitting(where), lambda: op(all=not where, **where))


def _fitting(where: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in where.items()) or "every queue"


def _said(letters: Sequence[DeadLetter]) -> str:
    if len(letters) == 1:
        return f"dead letter {letters[0].id} ({letters[0].kind})"
    return counted(len(letters), _THING)
