"""Readiness of a server, for probes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from awa_lib.errors import AwaError
from awa_lib.ops.schema import read_schema

if TYPE_CHECKING:
    from awa_cli.web.state import State
    from awa_lib._sql import Op

__all__ = ["Readiness", "readiness"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests can be served, and the reasons if not."""

    ready: bool
    reasons: list[str]
    explained: str | None = field(default=None, kw_only=True)
    """The reason with its cause and what to do, for the log alone: probes are not authenticated."""

    def document(self) -> dict[str, Any]:
        """Return the answer to a probe."""
        return {"ready": self.ready, "reasons": self.reasons}


async def readiness(state: State) -> Readiness:
    """Return whether the database is reachable and migrated; cached."""
    try:
        pending: int = await state.cache.get("pending", lambda: state.run(_pending()))
    except AwaError as error:
        parts = [part for part in (str(error), error.why, error.hint) if part]
        return Readiness(False, [str(error)], explained="; ".join(parts))
    if pending:
        return Readiness(False, [f"{pending} migrations are pending: awa migrate"])
    return Readiness(True, [])


def _pending() -> Op[int]:
    status = yield from read_schema()
    return len(status.pending)
