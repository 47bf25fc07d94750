"""Shows how far a bulk operation is; closed it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import ProgressBar, Static

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib.models import BulkOperation

__all__ = ["ProgressDialog"]


class ProgressDialog(ModalScreen[None]):
    """A bar and numbers."""

    BINDINGS: ClassVar = [Binding("escape,q,enter", "dismiss", "Close; it goes on")]

    def __init__(self, title: str, operation: BulkOperation) -> None:
        super().__init__()
        self._title = title
        self._operation = operation

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical(classes="ask"):
            yield Static(self._title, classes="ask-title", markup=False)
            yield ProgressBar(max(self._operation.total_matched, 1), show_eta=False)
            yield Static("", id="progress-text", markup=False)

    def show(self, now: BulkOperation) -> None:
        """Show another state."""
        if self.is_attached and self.query(ProgressBar):
            over = now.processed + now.skipped + now.errored
            self.query_one(ProgressBar).update(progress=over)
            text = f"{now.processed:,} of {now.total_matched:,}"
            self.query_one("#progress-text", Static).update(text)

    def end(self) -> None:
        """Close, if it is not closed yet."""
        if self.is_attached and self.app.screen is self:
            self.dismiss()
