"""A list with a filter that is read from its begin, longer as the cursor comes close to the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from awa_cli.tui.screens.filtered_page import FilteredPage

if TYPE_CHECKING:
    from awa_cli.tui.widgets.grid import Grid

__all__ = ["GrowingPage"]

T = TypeVar("T")

_STEP: Final = 200
# Each read returns all loaded rows.  Beyond this, a filter finds more.
_MOST: Final = 2_000


class GrowingPage(FilteredPage[T]):
    """Such a list.  The op of a subclass reads the first ``limit`` rows of ``where``."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.limit: int = self.visit.state.get("limit", _STEP)

    def keep(self) -> dict[str, Any]:
        """Keep how much of the list is read."""
        return {**super().keep(), "limit": self.limit}

    def on_grid_near_end(self, event: Grid.NearEnd) -> None:
        """Read more when the cursor comes close to the end."""
        whole = self.value is not None and len(self.value) == self.limit
        if event.edge == "end" and whole and self.limit < _MOST:
            self.limit += _STEP
            self.reread()

    def filtered(self) -> None:
        """Read and show the first rows that match the new filter."""
        self.limit = _STEP
        super().filtered()
