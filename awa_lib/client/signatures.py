"""Types of verbs whose result depends on what they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from datetime import timedelta
    from typing import TypeAlias, Unpack

    from awa_lib.enqueue.options import InsertOptions
    from awa_lib.models import Job

    Duration: TypeAlias = float | str | timedelta | None

__all__ = ["AsyncInsert", "Insert"]

A = TypeVar("A")

_Given = Literal["raise", "replace"]


class Insert(Protocol):
    """``insert``: None only where a conflicting job may be skipped.

    A job that is returned because it exists may have other args.
    """

    @overload
    def __call__(
        self,
        args: A,
        *,
        on_conflict: _Given = "raise",
        debounce: Duration = None,
        max_wait: Duration = None,
        **options: Unpack[InsertOptions],
    ) -> Job[A]: ...

    @overload
    def __call__(
        self, args: A, *, on_conflict: Literal["skip"], **options: Unpack[InsertOptions]
    ) -> Job[A] | None: ...

    @overload
    def __call__(
        self,
        args: Any,
        *,
        on_conflict: Literal["return_existing"],
        **options: Unpack[InsertOptions],
    ) -> Job: ...


class AsyncInsert(Protocol):
    """``insert`` of the async client."""

    @overload
    def __call__(
        self,
        args: A,
        *,
        on_conflict: _Given = "raise",
        debounce: Duration = None,
        max_wait: Duration = None,
        **options: Unpack[InsertOptions],
    ) -> Coroutine[Any, Any, Job[A]]: ...

    @overload
    def __call__(
        self, args: A, *, on_conflict: Literal["skip"], **options: Unpack[InsertOptions]
    ) -> Coroutine[Any, Any, Job[A] | None]: ...

    @overload
    def __call__(
        self,
        args: Any,
        *,
        on_conflict: Literal["return_existing"],
        **options: Unpack[InsertOptions],
    ) -> Coroutine[Any, Any, Job]: ...
