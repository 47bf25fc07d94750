"""Operations on the results of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from awa_lib._sql import sql
from awa_lib.codec.pgtext import int_array, text_array

if TYPE_CHECKING:
    from collections.abc import Iterable

    from awa_lib._sql import Op
    from awa_lib.codec.job_results import KeptResult

__all__ = ["FORGET_BATCH", "forget_results", "values_of"]

# Values of up to a mebibyte may have to be deleted with their rows.
FORGET_BATCH: Final = 500


class _Job(Protocol):
    @property
    def id(self) -> int: ...


class _Completed(Protocol):
    @property
    def job(self) -> _Job: ...
    @property
    def result(self) -> KeptResult | None: ...


def values_of(attempts: Iterable[_Completed]) -> dict[str, Any]:
    """Return the results of completed attempts as parameters of a statement, in their order."""
    kept = [(one.job.id, one.result) for one in attempts if one.result is not None]
    return {
        "result_ids": int_array([job_id for job_id, _ in kept]),
        "results": text_array(result.text for _, result in kept),
        "ttls": [result.ttl_seconds for _, result in kept],
    }


def forget_results() -> Op[int]:
    """Delete a batch of results that have expired; return how many, at most FORGET_BATCH.

    Of a job that is still there, the row stays without its value.
    """
    rows = yield sql.results("forget", limit=FORGET_BATCH)
    return int(rows.scalar())
