"""The progress of a bulk operation."""

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
    """A progress bar and numbers.  Closing it does not stop the operation."""

    BINDINGS: ClassVar = [Binding("escape,q,enter", "dismiss", "Continue in background")]

    def __init__(self, title: str, operation: BulkOperation) -> None:
        super().__init__()
        self._title = title
        self._operation = operation

    def compose(self) -> ComposeResult:
        """Lay out the dialog."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="dialog-title", markup=False)
            yield ProgressBar(max(self._operation.total_matched, 1), show_eta=False)
            yield Static("", id="progress-text", markup=False)

    def show(self, operation: BulkOperation) -> None:
        """Show the progress."""
        if self.is_attached and self.query(ProgressBar):
            done = operation.processed + operation.skipped + operation.errored
            self.query_one(ProgressBar).update(progress=done)
            text = f"{operation.processed:,} of {operation.total_matched:,}"
            self.query_one("#progress-text", Static).update(text)

    def end(self) -> None:
        """Close, unless it is closed already."""
        if self.is_attached and self.app.screen is self:
            self.dismiss()
