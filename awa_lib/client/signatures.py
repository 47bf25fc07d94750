"""Types of verbs whose result depends on an option."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from datetime import datetime

    from awa_lib.models import Job

__all__ = ["AsyncInsert", "Insert"]

_Always = Literal["raise", "return_existing", "replace"]


class Insert(Protocol):
    """``insert``: None only where a conflicting job may be skipped."""

    @overload
    def __call__(
        self,
        args: Any,
        *,
        kind: str | None = None,
        queue: str = "default",
        priority: int = 2,
        max_attempts: int = 25,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        run_at: datetime | str | None = None,
        unique_opts: Mapping[str, Any] | None = None,
        concurrency_key: str | None = None,
        on_conflict: _Always = "raise",
    ) -> Job: ...

    @overload
    def __call__(
        self,
        args: Any,
        *,
        kind: str | None = None,
        queue: str = "default",
        priority: int = 2,
        max_attempts: int = 25,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        run_at: datetime | str | None = None,
        unique_opts: Mapping[str, Any] | None = None,
        concurrency_key: str | None = None,
        on_conflict: Literal["skip"],
    ) -> Job | None: ...


class AsyncInsert(Protocol):
    """``insert`` of the async client."""

    @overload
    def __call__(
        self,
        args: Any,
        *,
        kind: str | None = None,
        queue: str = "default",
        priority: int = 2,
        max_attempts: int = 25,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        run_at: datetime | str | None = None,
        unique_opts: Mapping[str, Any] | None = None,
        concurrency_key: str | None = None,
        on_conflict: _Always = "raise",
    ) -> Coroutine[Any, Any, Job]: ...

    @overload
    def __call__(
        self,
        args: Any,
        *,
        kind: str | None = None,
        queue: str = "default",
        priority: int = 2,
        max_attempts: int = 25,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        run_at: datetime | str | None = None,
        unique_opts: Mapping[str, Any] | None = None,
        concurrency_key: str | None = None,
        on_conflict: Literal["skip"],
    ) -> Coroutine[Any, Any, Job | None]: ...
