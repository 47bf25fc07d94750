"""The attempts of a job side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding
from textual.containers import Horizontal, HorizontalScroll, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from awa_cli.documents.encoding import encode
from awa_cli.tui.widgets.json_tree import JsonTree
from awa_cli.tui.widgets.trace import trace
from awa_cli.views.attempts import latest_runs, retry_of
from awa_cli.views.words import age, clean
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_cli.tui.host import Host
    from awa_lib.reads.job_dumps import JobRun
    from awa_lib.reads.jobs import JobRow

__all__ = ["AttemptsScreen"]

_MIN_WIDTH: Final = 44


class AttemptsScreen(ModalScreen[None]):
    """A column for each attempt, the latest first."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("escape,q,a", "dismiss", "Close"),
        Binding("h", "app.focus_previous", "Left", show=False),
        Binding("l", "app.focus_next", "Right", show=False),
    ]

    def __init__(self, job: JobRow) -> None:
        super().__init__()
        self._job = job

    def compose(self) -> ComposeResult:
        """Lay out an empty row."""
        with HorizontalScroll(id="attempts"):
            yield Horizontal(id="attempts-row")

    async def on_mount(self) -> None:
        """Read and show the attempts."""
        try:
            runs = await self.app.source.read(latest_runs(self._job))
        except AwaError as error:
            self.app.show_error(error)
            return
        room = self.app.size.width * 9 // 10
        for run in runs:
            await self._add(run, max(room // len(runs), min(_MIN_WIDTH, room)))

    async def _add(self, run: JobRun, width: int) -> None:
        column = VerticalScroll(classes="attempt")
        column.styles.width = width
        await self.query_one("#attempts-row").mount(column)
        await column.mount(Static(_head(self._job, run)))
        if run.error:
            await column.mount(Static(trace(run.error)))
        if run.progress:
            tree = JsonTree("Progress")
            await column.mount(tree)
            tree.show(run.progress)
        for note in run.notes:
            await column.mount(Static(note, classes="attempt-note", markup=False))


def _head(job: JobRow, run: JobRun) -> Content:
    rows = [
        ("state", run.state),
        ("began", None if run.started_at is None else age(run.started_at)),
        ("ended", None if run.finished_at is None else encode(run.finished_at)),
        ("retry", retry_of(job, run)),
    ]
    lines = [Content.styled(f"Attempt {run.selected_attempt}", "bold $text-accent")]
    lines += [
        Content.assemble((f"{name:<10}", "$quiet"), clean(value))
        for name, value in rows
        if value is not None
    ]
    return Content("\n").join(lines)
