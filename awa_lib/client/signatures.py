"""Types of verbs whose result depends on an option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Unpack

    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.models import Job

__all__ = ["AsyncInsert", "Insert"]

_Always = Literal["raise", "return_existing", "replace"]


class Insert(Protocol):
    """``insert``: None only where a conflicting job may be skipped."""

    @overload
    def __call__(
        self, args: Any, *, on_conflict: _Always = "raise", **options: Unpack[InsertOptions]
    ) -> Job: ...

    @overload
    def __call__(
        self, args: Any, *, on_conflict: Literal["skip"], **options: Unpack[InsertOptions]
    ) -> Job | None: ...


class AsyncInsert(Protocol):
    """``insert`` of the async client."""

    @overload
    def __call__(
        self, args: Any, *, on_conflict: _Always = "raise", **options: Unpack[InsertOptions]
    ) -> Coroutine[Any, Any, Job]: ...

    @overload
    def __call__(
        self, args: Any, *, on_conflict: Literal["skip"], **options: Unpack[InsertOptions]
    ) -> Coroutine[Any, Any, Job | None]: ...
