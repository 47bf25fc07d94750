"""A large workflow as COPY rows: its nodes, its edges, and the jobs of the tasks that start."""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from itertools import islice, repeat
from typing import TYPE_CHECKING, Final

from awa_lib.codec import pgtext
from awa_lib.enqueue.workflow_nodes import Group, Task

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from awa_lib.enqueue.new_jobs import NewJobs
    from awa_lib.enqueue.options import Options
    from awa_lib.enqueue.workflow_nodes import Part
    from awa_lib.enqueue.workflow_rows import Plan

__all__ = ["PlanText"]

# Each block is a call of the driver; larger ones hold more memory and save nothing.
_BLOCK: Final = 500
_NULL: Final = "\\N"
_NO_WAIT: Final = (0, 0)


class PlanText:
    """The rows of a plan whose nodes are decided, in blocks of COPY text."""

    def __init__(self, plan: Plan, workflow_id: int, ids: Sequence[int], now: datetime) -> None:
        """``ids`` are reserved ids of its jobs; ``now`` is the database's time of the insert."""
        self._plan = plan
        self._workflow = workflow_id
        self._ids = ids
        self._now = now
        # What most rows have in common, by the identity of options and by kind.
        self._ends: dict[int, str] = {}
        self._kinds: dict[str, str] = {}

    def nodes(self) -> Iterator[str]:
        """Yield the rows of nodes, and tell the nodes of the plan their jobs."""
        return _blocks(self._nodes())

    def edges(self) -> Iterator[str]:
        """Yield the rows of edges."""
        workflow, edges = f"{self._workflow}\t", self._plan.edges()
        while batch := list(islice(edges, _BLOCK)):
            yield "".join([f"{workflow}{parent}\t{child}\n" for parent, child in batch])

    def jobs(self, *, scheduled: bool) -> Iterator[str]:
        """Yield the rows of jobs that start, of those that may run now or of the others."""
        self._ends.clear()
        return _blocks(self._jobs(scheduled))

    def starts(self, *, scheduled: bool) -> bool:
        """Return whether there are such jobs."""
        return any(
            waits == _NO_WAIT and part.jobs.args and self._is_later(part) == scheduled
            for part, waits in self._plan.parts()
        )

    def _nodes(self) -> Iterator[str]:
        ids, workflow, number = iter(self._ids), f"{self._workflow}\t", self._plan.first
        for part, (open_, signals) in self._plan.parts():
            node, jobs = part.node, part.jobs
            name, group = pgtext.copy_field(node.name), _NULL
            if isinstance(node, Group):
                yield f"{workflow}{number}\tgroup\t{name}{_untold(len(jobs.args))}"
                name, group = _NULL, str(number)
                number += 1
            middle = (
                f"\ttask\t{name}\t{group}\t{'waiting' if open_ or signals else 'started'}"
                f"\t{part.when}\t{part.on_parent_failure}\t{open_}\t{signals}"
                f"\t{_moment(part.not_before)}\t{_number(part.wait)}\t"
            )
            job_ids = list(islice(ids, len(jobs.args)))
            if isinstance(node, Task):
                node.job_id = job_ids[0]
            else:
                node.job_ids += job_ids
            for job_id, rest in zip(job_ids, self._rests(jobs), strict=True):
                yield f"{workflow}{number}{middle}{job_id}{rest}"
                number += 1
        for name in self._plan.new_signals():
            yield f"{workflow}{number}\tsignal\t{pgtext.copy_field(name)}{_untold(0)}"
            number += 1

    def _jobs(self, scheduled: bool) -> Iterator[str]:
        ids = iter(self._ids)
        for part, waits in self._plan.parts():
            job_ids = islice(ids, len(part.jobs.args))
            if waits == _NO_WAIT and self._is_later(part) == scheduled:
                run_at = self._run_at(part).isoformat()
                for job_id, rest in zip(job_ids, self._rests(part.jobs, of_job=True), strict=True):
                    yield f"{job_id}\t{run_at}{rest}"
            else:
                deque(job_ids, maxlen=0)

    def _rests(self, jobs: NewJobs, *, of_job: bool = False) -> Iterator[str]:
        """Yield the columns that a node and a job have in common, from the kind on."""
        kinds, ends = self._kinds, self._ends
        for kind, args, options in zip(
            jobs.kinds, jobs.args, jobs.own or repeat(jobs.options), strict=False
        ):
            if (end := ends.get(id(options))) is None:
                end = ends[id(options)] = self._end(options, of_job=of_job)
            if (name := kinds.get(kind)) is None:
                name = kinds[kind] = pgtext.copy_field(kind)
            yield f"\t{name}\t{pgtext.copy_json(args)}{end}"

    def _end(self, options: Options, *, of_job: bool) -> str:
        metadata = options.metadata
        if of_job:
            comma = "" if metadata == "{}" else ","
            metadata = f'{metadata[:-1]}{comma}"_awa_workflow":{self._workflow}}}'
        fields = (
            "",
            pgtext.copy_field(options.queue),
            str(options.priority),
            str(options.max_attempts),
            pgtext.copy_json(metadata),
            pgtext.copy_field(pgtext.text_array(options.tags)),
        )
        return "\t".join(fields) + "\n"

    def _is_later(self, part: Part) -> bool:
        return self._run_at(part) > self._now

    def _run_at(self, part: Part) -> datetime:
        later = self._now if not part.wait else self._now + timedelta(seconds=part.wait)
        return later if part.not_before is None else max(part.not_before, later)


def _untold(members: int) -> str:
    """Return the columns of a group or a signal from the number of its group on."""
    return f"\t{_NULL}\twaiting\tall_succeeded\tskip\t{members}\t0{_NOTHING}"


# From not_before on.
_NOTHING: Final = f"\t{_NULL}" * 10 + "\n"


def _blocks(rows: Iterable[str]) -> Iterator[str]:
    rows = iter(rows)
    while block := "".join(islice(rows, _BLOCK)):
        yield block


def _moment(value: datetime | None) -> str:
    return _NULL if value is None else value.isoformat()


def _number(value: float | None) -> str:
    return _NULL if value is None else repr(value)
