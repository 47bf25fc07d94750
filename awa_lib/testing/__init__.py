"""Helpers for tests of code that uses the queue: run jobs without a worker, assert on inserts.

Every function takes an ``AsyncClient``, and is then awaited, or a ``Client``, and then blocks.
A ``Client`` has no handlers: pass the ``AsyncClient`` that has them as ``worker``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from awa_lib.testing._asserts import assert_enqueued, assert_not_enqueued, enqueued
    from awa_lib.testing._compat import AwaTestClient, HandlerJob, get_database_url
    from awa_lib.testing._inline import inline
    from awa_lib.testing._results import Drained, JobRow, NoJob, WorkResult
    from awa_lib.testing._travel import travel
    from awa_lib.testing._work import drain, work_one
    from awa_lib.testing.plugin import awa_client

__all__ = [
    "AwaTestClient",
    "Drained",
    "HandlerJob",
    "JobRow",
    "NoJob",
    "WorkResult",
    "assert_enqueued",
    "assert_not_enqueued",
    "awa_client",
    "drain",
    "enqueued",
    "get_database_url",
    "inline",
    "travel",
    "work_one",
]

# pytest loads the plugin of this package in every run; psycopg is imported when a test needs it.
_HOMES: Final = {
    "_asserts": ("assert_enqueued", "assert_not_enqueued", "enqueued"),
    "_inline": ("inline",),
    "_compat": ("AwaTestClient", "HandlerJob", "get_database_url"),
    "_results": ("Drained", "JobRow", "NoJob", "WorkResult"),
    "_travel": ("travel",),
    "_work": ("drain", "work_one"),
    "plugin": ("awa_client",),
}
_HOME_OF: Final = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
