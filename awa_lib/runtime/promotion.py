"""Promote scheduled and retryable jobs that are due.

A promoted job leaves a dead entry at the start of the index of due jobs.  While a look from the
start is dear, looks begin at marks (``Looks``): a job behind a mark was committed more than a
second after its time, or was put aside and locked again, and the next look from the start finds it.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from awa_lib.errors import AwaError, Unavailable
from awa_lib.ops import maintenance as ops
from awa_lib.ops.apart import Aside
from awa_lib.runtime.looks import Looks, timed
from awa_lib.telemetry import metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib.ops.maintenance import Block
    from awa_lib.runtime.news import News
    from awa_lib.runtime.rescues import Contact

__all__ = ["Promotion"]

_BATCHES: Final = 32
_BLOCKS: Final[dict[str, Block]] = {
    "scheduled": "promote_scheduled",
    "retryable": "promote_retryable",
}


class Promotion:
    """The promotion of the fleet's leader."""

    def __init__(
        self, contact: Contact, news: News, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._contact = contact
        self._news = news
        self._aside = {state: Aside(clock) for state in _BLOCKS}
        self._clock = clock
        self._looks = Looks(clock)
        self._begins: dict[str, str] = {}

    async def round(self) -> None:
        """Promote what is due; what is left after many batches is promoted in the next round."""
        # Alternate: many jobs of one state never delay those of the other.
        full = await self._due()
        for _ in range(_BATCHES):
            for state in list(full):
                began = time.perf_counter()
                begin = self._begins.get(state, ops.EVER)
                op = ops.promote(_BLOCKS[state], aside=self._aside[state], begin=begin)
                count = await self._contact.run(op)
                metrics.promoted(state, count, time.perf_counter() - began)
                if count < ops.PROMOTE_BATCH:
                    full.remove(state)

    async def _due(self) -> list[str]:
        """Return the states of which jobs are due or aside: mostly none."""
        whole = self._looks.due
        # The time of a look that asks for more than due jobs does not tell whether those are dear.
        others = self._news.wanted and not (whole and self._begins)
        apart = [job_id for aside in self._aside.values() for job_id in aside]
        look = partial(ops.due_states, {} if whole else self._begins, apart)
        try:
            asked = look(others=others)
            (found, more), seconds = await self._contact.run(timed(asked, self._clock))
        except Unavailable:
            raise
        except AwaError:
            if not others:
                raise
            # What is in the way of the rest delays no due job.
            self._news.refused()
            (found, more), seconds = await self._contact.run(timed(look(), self._clock))
        if more is not None:
            self._news.note(more)
        if whole and (others or not self._looks.took(seconds)):
            self._begins = {}
        else:
            self._begins = {one.state: one.begin for one in found}
        return [one.state for one in found if one.is_due or len(self._aside[one.state])]
