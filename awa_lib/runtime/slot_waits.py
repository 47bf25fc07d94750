"""Handlers that wait for the end of other jobs: a slot must be left for those jobs."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, Self

from awa_lib.errors import WouldDeadlock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from awa_lib.config.workers import WorkerOptions
    from awa_lib.models import Job

__all__ = ["SlotWaits"]


class _Attempt(Protocol):
    @property
    def job(self) -> Job: ...


class SlotWaits:
    """Count the attempts of a process that hold a slot while they wait.

    Where each queue has slots of its own, waits for jobs of the same queue count; where the queues
    share slots, waits for jobs of any of them.  The last slot never waits, so that the jobs that
    are waited for always find one.
    """

    def __init__(self, slots: Mapping[str, int] | None, shared: int | None) -> None:
        self._slots = slots
        self._shared = shared
        self._held: defaultdict[str, Counter[_Attempt]] = defaultdict(Counter)
        # Blocking handlers wait in threads.
        self._lock = threading.Lock()

    @classmethod
    def of(cls, options: WorkerOptions) -> Self:
        """Return those of a worker."""
        slots = {queue.name: queue.capacity for queue in options.queues}
        return cls(slots, options.global_max_workers)

    @contextmanager
    def hold(self, attempt: _Attempt, job_id: int, queue: str) -> Iterator[None]:
        """Count a wait for a job of a queue.  Raises WouldDeadlock for the last slot."""
        own = attempt.job.queue
        here = self._slots is None or queue in self._slots
        if self._shared is not None:
            slots = self._shared
        else:
            here = here and queue == own
            slots = self._slots[own] if here and self._slots is not None else 1
        if not here:
            yield
            return
        held = self._held[own if self._shared is None else ""]
        with self._lock:
            if attempt not in held and len(held) + 1 >= slots:
                raise _refusal(attempt.job, job_id, queue, slots)
            held[attempt] += 1
        try:
            yield
        finally:
            with self._lock:
                held[attempt] -= 1
                if not held[attempt]:
                    del held[attempt]


def _refusal(job: Job, job_id: int, queue: str, slots: int) -> WouldDeadlock:
    have = "slot of this worker" if slots == 1 else f"of the {slots} slots of this worker"
    return WouldDeadlock(
        f"job {job.id} must not wait for job {job_id} of the queue {queue!r}",
        why=f"it would hold the last {have}, and none would be left to run that job",
        hint="put the jobs that are waited for into a queue of their own:"
        " @client.task(…, queue='parts'), or give this queue more slots",
    )
