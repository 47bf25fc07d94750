"""Late jobs: those that can be claimed behind the place where claims begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from awa_lib._sql import sql
from awa_lib.codec.pgtext import int_array

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_lib._sql import Op

__all__ = ["Begin", "Late", "late_jobs", "legs"]


class Begin(NamedTuple):
    """Where a claim begins: after the jobs of a kind and priority that may run since ``at``."""

    kind: str
    priority: int
    at: str
    """A time of a row as the claim has returned it, or ``-infinity``."""
    id: int | None = None
    """Only this job, which may run since an earlier time."""


class Late(NamedTuple):
    """What can be claimed behind a beginning of claims."""

    kind: str
    priority: int
    begin: str
    """Where claims may begin from now on: they pass no other job that can be claimed."""
    ids: list[int]
    """The jobs behind that, at most 999, the oldest first; if there are more, none."""


def late_jobs(queue: str, begins: Sequence[Begin], passing: Sequence[int] = ()) -> Op[list[Late]]:
    """Return for each beginning what can be claimed behind it; nothing for a paused queue.

    Reads the index of claims from its start.  Jobs that other transactions have locked count, those
    in ``passing`` do not.  Takes no lock.
    """
    rows = yield sql.claims(
        "late_jobs",
        queue=queue,
        kinds=[one.kind for one in begins],
        passing=int_array(passing),
        **legs(begins),
    )
    return [Late(*row) for row in rows]


def legs(begins: Sequence[Begin]) -> dict[str, list[Any]]:
    """Return parameters of the statements that have beginnings."""
    return {"priorities": [one.priority for one in begins], "ats": [one.at for one in begins]}
