"""Read jobs with the descriptors of their queue and kind, as the command and the API print them."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from awa_lib._json import as_members
from awa_lib._sql import sql
from awa_lib.reads.jobs import JobRow, job_row, job_rows, job_rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from awa_lib._sql import Op
    from awa_lib.filters import JobQuery

__all__ = ["DescribedJob", "Descriptor", "described_job", "described_jobs", "described_jobs_of"]

_COLUMNS = tuple(field.name for field in fields(JobRow))


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a worker declared about a queue or a kind."""

    display_name: str | None
    description: str | None
    owner: str | None
    docs_url: str | None
    tags: list[str]
    extra: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DescribedJob(JobRow):
    """A job; ``original_priority`` is the one before aging."""

    original_priority: int
    queue_descriptor: Descriptor | None
    kind_descriptor: Descriptor | None


def described_jobs(
    *, sort: str = "-id", limit: int = 20, **query: Unpack[JobQuery]
) -> Op[list[DescribedJob]]:
    """Return the page of ``job_rows`` with descriptors."""
    return (yield from _describe((yield from job_rows(sort=sort, limit=limit, **query))))


def described_jobs_of(ids: Sequence[int]) -> Op[list[DescribedJob]]:
    """Return the jobs with these ids that exist, by id."""
    return (yield from _describe((yield from job_rows_of(ids))))


def described_job(job_id: int) -> Op[DescribedJob]:
    """Return one job.  Raises JobNotFound."""
    return (yield from _describe([(yield from job_row(job_id))]))[0]


def _describe(rows: Sequence[JobRow]) -> Op[list[DescribedJob]]:
    if not rows:
        return []
    found: dict[str, dict[str, Descriptor]] = {"queue": {}, "kind": {}}
    queues, kinds = {row.queue for row in rows}, {row.kind for row in rows}
    declared = yield sql.read_descriptors("described", queues=sorted(queues), kinds=sorted(kinds))
    for noun, name, display_name, description, owner, docs_url, tags, extra in declared:
        found[noun][name] = Descriptor(
            display_name, description, owner, docs_url, tags, as_members(extra)
        )
    return [
        DescribedJob(
            **{name: getattr(row, name) for name in _COLUMNS},
            original_priority=row.metadata.get("_awa_original_priority", row.priority),
            queue_descriptor=found["queue"].get(row.queue),
            kind_descriptor=found["kind"].get(row.kind),
        )
        for row in rows
    ]
