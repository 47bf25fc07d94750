"""Remove what ``awa bench`` has made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["delete_bench_jobs", "forget_bench"]

_ROWS_PER_STATEMENT: Final = 10_000


def delete_bench_jobs(queue: str, *, after: int) -> Op[int]:
    """Delete a batch of the queue's jobs with larger ids, in any state; return how many."""
    rows = yield sql.bench("delete_jobs", queue=queue, after=after, limit=_ROWS_PER_STATEMENT)
    return int(rows.scalar())


def forget_bench(queue: str) -> Op[None]:
    """Delete counters, catalogs, descriptors and ended processes of the queue and its kind."""
    yield sql.bench("forget", queue=queue)
