"""The audit log: who changed what, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_lib._json import dumps
from awa_lib._sql import atomic, sql
from awa_lib.errors import SchemaNotMigrated

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op

__all__ = ["Entry", "announced", "audited", "forget_audit"]

R = TypeVar("R")

_LONGEST_NAME: Final = 200
_LONGEST_TARGET: Final = 300
_IDS: Final = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One change: ``actor`` did ``action`` to ``target``, by ``via`` (cli, tui or web)."""

    actor: str
    via: str
    action: str
    target: str
    detail: dict[str, Any] = field(default_factory=dict)


@atomic
def audited(
    op: Op[R], entry: Entry, outcome: Callable[[R], dict[str, Any] | None] | None = None
) -> Op[R]:
    """Run an op and record it in one transaction: a change that fails leaves no entry.

    ``outcome`` makes further detail from the result, or None if nothing was changed.
    """
    result = yield from op
    more = {} if outcome is None else outcome(result)
    if more is not None:
        yield from _record(entry, more)
    return result


def announced(op: Op[R], entry: Entry) -> Op[R]:
    """Record an op of several transactions twice: when it begins, and when it has ended.

    The second entry has ``ended``, the number of jobs and the first hundred ids, where the op
    returns them; an op that fails leaves the first one alone.
    """
    yield from _record(entry, {})
    result = yield from op
    yield from _record(entry, {"ended": True, **_counted(result)})
    return result


def _counted(result: object) -> dict[str, Any]:
    if isinstance(result, int):
        return {"jobs": result}
    if isinstance(result, Sequence):
        ids = [getattr(one, "id", one) for one in result[:_IDS]]
        return {"jobs": len(result), "ids": ids}
    processed = getattr(result, "processed", None)
    return {} if processed is None else {"jobs": processed}


def _record(entry: Entry, more: dict[str, Any]) -> Op[None]:
    """Add the entry; before its migration a database has no audit log."""
    try:
        yield from _add(entry, more)
    except SchemaNotMigrated:
        return


@atomic
def _add(entry: Entry, more: dict[str, Any]) -> Op[None]:
    yield sql.audit(
        "record",
        actor=_kept(entry.actor, _LONGEST_NAME),
        via=entry.via,
        action=entry.action,
        target=_kept(entry.target, _LONGEST_TARGET),
        detail=dumps({**entry.detail, **more}),
    )


def _kept(text: str, longest: int) -> str:
    """Cut a text to the width of its column and replace what Postgres cannot store."""
    return text.encode(errors="replace").decode().replace("\x00", "?")[:longest]


def forget_audit(days: int) -> Op[int]:
    """Delete entries older than ``days``, at least 90; return how many."""
    rows = yield sql.audit("forget", days=days)
    return int(rows.scalar())
