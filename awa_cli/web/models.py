"""The field types of the API's documents: read models import them for type checkers only."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, get_type_hints

from awa_lib.doctor import Severity
from awa_lib.policies import QueuePolicy
from awa_lib.reads.job_documents import Descriptor
from awa_lib.reads.job_dumps import JobEvent, JobSummary
from awa_lib.reads.jobs import JobRow
from awa_lib.reads.overviews import QueueOverview
from awa_lib.reads.runtime import RuntimeInstance
from awa_lib.states import StateName

__all__ = ["hints"]

_NAMES = {
    one.__name__: one
    for one in (
        datetime,
        Descriptor,
        JobEvent,
        JobRow,
        JobSummary,
        QueueOverview,
        QueuePolicy,
        RuntimeInstance,
        Severity,
    )
} | {"StateName": StateName}


@cache
def hints(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields."""
    return get_type_hints(kind, localns=_NAMES, include_extras=True)
