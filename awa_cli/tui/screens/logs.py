"""What the newest run of a job has logged, live."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from textual import work
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from awa_cli.views.words import clean
from awa_lib.errors import AwaError
from awa_lib.reads.job_logs import latest_job_log

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_cli.tui.host import Host
    from awa_lib.reads.job_logs import JobLog, LogRecord

__all__ = ["LogsScreen"]

# Records come with the heartbeats of the worker.
_READ_SECONDS: Final = 2.0
_STYLES: Final = {"WARNING": "$text-warning", "ERROR": "$text-error", "CRITICAL": "$text-error"}


class LogsScreen(ModalScreen[None]):
    """The records of a run, the newest at the bottom."""

    app: Host
    BINDINGS: ClassVar = [
        Binding("escape,q,l", "dismiss", "Close"),
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, job_id: int) -> None:
        super().__init__()
        self._job_id = job_id
        self._shown: tuple[int, int] | None = None

    def compose(self) -> ComposeResult:
        """Lay out an empty box."""
        with VerticalScroll(id="logs"):
            yield Static(id="logs-text")

    def on_mount(self) -> None:
        """Read now, and then every two seconds."""
        self._read()
        self.set_interval(_READ_SECONDS, self._read)

    @work(exclusive=True, exit_on_error=False)
    async def _read(self) -> None:
        try:
            log = await self.app.source.read(latest_job_log(self._job_id))
        except AwaError as error:
            self.app.show_error(error)
            return
        news = (0, 0) if log is None else (log.run_lease, log.dropped + len(log.records))
        if news != self._shown:
            self._shown = news
            self._show(log)

    def _show(self, log: JobLog | None) -> None:
        text = self.query_one("#logs-text", Static)
        if log is None:
            text.update("Nothing is kept. Logs are kept of kinds and queues with capture_logs.")
            return
        lines = [Content.styled(f"Attempt {log.attempt}", "bold $text-accent")]
        if log.dropped:
            lines.append(Content.styled(f"… {log.dropped} earlier records dropped", "$faint"))
        text.update(Content("\n").join([*lines, *map(_record, log.records)]))
        self.query_one("#logs", VerticalScroll).scroll_end(animate=False)

    def action_scroll(self, step: int) -> None:
        """Scroll by a line."""
        self.query_one("#logs", VerticalScroll).scroll_relative(y=step, animate=False)


def _record(one: LogRecord) -> Content:
    message = "\n".join(clean(line) for line in one.message.split("\n"))
    trace = "".join(f"\n    {clean(line)}" for line in (one.exception or "").splitlines())
    style = _STYLES.get(one.level, "")
    return Content.assemble(
        (f"{one.time:%H:%M:%S} ", "$quiet"),
        (f"{clean(one.level):<8}", style),
        (f"{clean(one.logger)}: ", "$quiet"),
        message,
        (trace, "$text-error"),
    )
