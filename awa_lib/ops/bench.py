"""What ``awa bench`` removes after itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from awa_lib._sql import sql

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["delete_bench_jobs", "forget_bench"]

_BATCH: Final = 10_000


def delete_bench_jobs(queue: str, *, after: int) -> Op[int]:
    """Delete a batch of the queue's jobs in any state whose ids are larger; return how many."""
    rows = yield sql.bench("delete_jobs", queue=queue, after=after, limit=_BATCH)
    return int(rows.scalar())


def forget_bench(queue: str) -> Op[None]:
    """Delete counters, catalogs, descriptors and dead processes of the queue and its kind."""
    yield sql.bench("forget", queue=queue)
