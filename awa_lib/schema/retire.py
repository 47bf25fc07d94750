"""Retire the index that only workers of awa 0.5 need, and restore it.

It is written for each job that is inserted and claimed.  Nothing is recorded: the index is retired
when it is not there.  No script of a migration makes it again after the first.

Blocking only, as ``awa_lib.schema.migrate``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from awa_lib._sql import Op, compute, sql
from awa_lib.db.drive import run
from awa_lib.errors import Conflict
from awa_lib.ops.schema import check
from awa_lib.reads.published import published_workers
from awa_lib.schema.locks import OWN_LOCK, attempt, holding, outside_transaction
from awa_lib.schema.online import execute, index_definition, wanted_definition
from awa_lib.schema.scripts import RETIRABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from awa_lib._sql import Statement

__all__ = ["restore", "retire", "steps"]

((_WORD, _NAME),) = RETIRABLE.items()
_LOCK_SECONDS: Final = 60.0


def steps(conn: Connection[Any], *, retired: bool) -> list[Statement]:
    """Return the statements that retire or restore the index: none if it is as it should be.

    Raises Conflict if it is to be retired and workers of awa 0.5 need it, SchemaNotMigrated.
    """
    run(conn, check())
    there = index_definition(conn, _NAME)
    if retired:
        if workers := run(conn, published_workers()):
            raise Conflict(
                "the fleet has workers of awa 0.5, which claim by the dequeue index",
                why=f"{workers[0]}" + (f", and {len(workers) - 1} more" if workers[1:] else ""),
                hint="retire it a day after the last of them was stopped",
            )
        return [] if there is None else [sql.schema("drop_dequeue_index")]
    if there == (True, wanted_definition(_NAME)):
        return []
    # A build that was cut off leaves an index that no statement can use.
    found = [] if there is None else [sql.schema("drop_dequeue_index")]
    return [*found, sql.schema("create_dequeue_index")]


def retire(conn: Connection[Any], waiting: Callable[[str], None]) -> Op[None]:
    """Drop the index online, if it is there.

    The connection must be direct and outside a transaction; ``waiting`` is told what it waits for.
    Raises as ``steps``; Conflict beside another migration, and Unavailable while its table stays
    locked: what was begun is ended by the next call.
    """
    yield compute(lambda: _change(conn, waiting, retired=True))


def restore(conn: Connection[Any], waiting: Callable[[str], None]) -> Op[None]:
    """Build the index online, if it is missing or broken.  As ``retire``."""
    yield compute(lambda: _change(conn, waiting, retired=False))


def _change(conn: Connection[Any], waiting: Callable[[str], None], *, retired: bool) -> None:
    command = f"awa migrate --{'retire' if retired else 'restore'} {_WORD}"

    with outside_transaction(conn), holding(conn, OWN_LOCK, waiting, _LOCK_SECONDS):
        if steps(conn, retired=retired):
            attempt(
                conn,
                # Looked for again after a wait: what was cut off has left something.
                lambda: [execute(conn, each) for each in steps(conn, retired=retired)],
                subject=command,
                command=command,
                online=True,
                waiting=waiting,
            )
