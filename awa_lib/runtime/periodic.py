"""A duty that runs at intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_lib.runtime.supervisor import Duty

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Periodic"]


class Periodic(Duty):
    """Run a coroutine function every ``seconds``, the first time at once."""

    def __init__(
        self, name: str, seconds: float, duty: Callable[[], Awaitable[float | None]]
    ) -> None:
        super().__init__(name, duty, seconds=seconds)
