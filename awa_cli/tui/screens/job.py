"""One job, live: its facts, timeline, data and errors."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Collapsible, Static

from awa_cli.documents.encoding import encode
from awa_cli.tui.changes import jobs as changes
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.dialogs import AskText, Pick, PickPriority
from awa_cli.tui.widgets.json_tree import JsonTree
from awa_cli.tui.widgets.trace import trace
from awa_cli.views.facts import job_commands, job_facts, sleep_words
from awa_cli.views.states import STATE_STYLES, state_sign
from awa_cli.views.words import age, clean, now, say_seconds, span
from awa_lib.reads.job_dumps import JobDump, dump_job
from awa_lib.states import CAN_RETRY, IN_ATTEMPT, QUEUED

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult

    from awa_cli.tui.changes.change import Change
    from awa_lib._sql import Op
    from awa_lib.reads.jobs import JobRow

__all__ = ["JobPage"]

_LIVE_INTERVAL: Final = 0.5
_BAR_WIDTH: Final = 30
_TENTHS_BELOW_SECONDS: Final = 10
# The page is drawn twice a second while the job runs; awa job show prints all.
_MOST_LINES: Final = 100


class JobPage(Page[JobDump]):
    """A job; the subject of the visit is its id."""

    ACTIONS: ClassVar = {
        "retry": "jobs.retry",
        "cancel": "jobs.cancel",
        "discard": "jobs.discard",
        "priority": "jobs.priority",
        "move": "jobs.move",
    }
    BINDINGS: ClassVar = [
        Binding("r", "retry", "Retry", id="job.retry"),
        Binding("c", "cancel", "Cancel", id="job.cancel"),
        Binding("p", "priority", "Priority", show=False, id="job.priority"),
        Binding("v", "move", "Move", show=False, id="job.move"),
        Binding("d", "discard", "Discard", show=False, id="job.discard"),
        Binding("a", "attempts", "Attempts", id="job.attempts"),
        Binding("l", "logs", "Logs", id="job.logs"),
        Binding("y", "copy", "Copy", id="job.copy"),
        Binding("e", "same_kind", "Failed of kind", id="job.same-kind"),
        Binding("o", "queue", "Open queue", id="job.queue"),
        Binding("w", "workflow", "Open workflow", id="job.workflow"),
        Binding("j", "scroll(1)", "Down", show=False, id="job.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="job.up"),
        Binding("g", "edge('start')", "Top", show=False, id="job.top"),
        Binding("G", "edge('end')", "Bottom", show=False, id="job.bottom"),
    ]

    def query_op(self) -> Op[JobDump]:
        """Read the job with everything the page shows."""
        return dump_job(int(self.visit.subject))

    @property
    def read_interval(self) -> float:
        """Read more often while the job runs."""
        live = self.value is not None and self.value.job.state in IN_ATTEMPT
        return min(self.app.interval, _LIVE_INTERVAL) if live else self.app.interval

    def body(self) -> ComposeResult:
        """Yield facts beside data, with errors below; in one column errors come before data."""
        with VerticalScroll(id="job"):
            with Vertical(id="job-left"):
                yield Static(id="job-head")
                yield Static(id="job-facts")
                yield Static("Timeline", classes="title")
                yield Static(id="job-timeline")
                yield Static("Steps", classes="title", id="job-steps-title")
                yield Static(id="job-steps")
            with Vertical(id="job-right"):
                yield JsonTree("Args", id="args")
                yield JsonTree("Result", id="result")
                yield JsonTree("Metadata", id="metadata")
                yield JsonTree("Checkpoint", id="checkpoint")
            yield Vertical(id="job-errors")

    def on_resize(self) -> None:
        """Put the errors below both columns, or before the data in one column."""
        box, data = self.query_one("#job"), self.query_one("#job-right")
        if self.app.is_wide:
            box.move_child(self.query_one("#job-errors"), after=data)
        else:
            box.move_child(self.query_one("#job-errors"), before=data)

    def on_mount(self) -> None:
        """Update ages once a second, and listen for changes of the job."""
        self.set_interval(1.0, self._tick)
        self.query_one("#job").focus()
        self._listen()

    @work(group="listen", exit_on_error=False)
    async def _listen(self) -> None:
        async for _ in self.app.source.watch([int(self.visit.subject)]):
            self.reread()

    def _tick(self) -> None:
        if self.value is not None:
            self._show_head(self.value)
            self._show_facts(self.value)

    def show(self, value: JobDump) -> None:
        """Show the job, in place."""
        self._show_head(value)
        self._show_facts(value)
        self._show_timeline(value)
        self._show_steps(value)
        self._show_errors(value.job)
        progress = value.job.progress or {}
        for name, data in (
            ("args", value.job.args),
            ("metadata", value.job.metadata),
            ("checkpoint", progress.get("metadata")),
        ):
            self.query_one(f"#{name}", JsonTree).show(data)
        self._show_result(value)
        if self.feed is not None:
            self.feed.pace.interval = self.read_interval

    def _show_result(self, value: JobDump) -> None:
        tree = self.query_one("#result", JsonTree)
        tree.show(None if value.result is None else value.result.value)
        tree.display = value.result is not None  # also one that is null or empty

    def _show_head(self, value: JobDump) -> None:
        app, job = self.app, value.job
        sign = state_sign(job.state, ascii_only=app.ascii_only)
        style = app.paint.css(STATE_STYLES.get(job.state, ""))
        parts: list[Any] = [
            (f"{sign} {job.state}", style),
            f"  {clean(job.kind)}  ",
            (f"attempt {job.attempt} of {value.summary.max_attempts}", "$quiet"),
        ]
        if job.state == "running" and job.attempted_at is not None:
            parts.append((f"  for {_since(job.attempted_at)}", "$quiet"))
        if job.callback_id and job.callback_timeout_at is not None:
            left = (job.callback_timeout_at - now()).total_seconds()
            parts.append(("\ncallback ", "$quiet"))
            parts.append(_countdown(left))
        if job.progress and isinstance(percent := job.progress.get("percent"), int):
            parts += ["\n", *self._bar(percent), f" {clean(job.progress.get('message') or '')}"]
        self.query_one("#job-head", Static).update(Content.assemble(*parts))

    def _bar(self, percent: int) -> list[tuple[str, str]]:
        done = round(_BAR_WIDTH * min(max(percent, 0), 100) / 100)
        full, rest = ("#", "-") if self.app.ascii_only else ("━", "─")
        return [
            (full * done, "$text-success"),
            (rest * (_BAR_WIDTH - done), "$faint"),
            (f" {percent}%", "bold"),
        ]

    def _show_facts(self, dump: JobDump) -> None:
        lines = []
        for name, value in job_facts(dump):
            if value is None:
                continue
            parts: list[Any] = [(f"{name:<11}", "$quiet")]
            if isinstance(value, datetime):
                parts += [age(value) or "", (f"  {encode(value)}", "$faint")]
            else:
                parts.append(clean(value))
            lines.append(Content.assemble(*parts))
        self.query_one("#job-facts", Static).update(Content("\n").join(lines))

    def _show_timeline(self, dump: JobDump) -> None:
        lines = []
        previous: datetime | None = None
        if (hidden := len(dump.timeline) - _MOST_LINES) > 0:
            lines.append(Content.styled(f"{hidden:,} earlier events", "$quiet"))
        for event in dump.timeline[-_MOST_LINES:]:
            at = datetime.fromisoformat(event.timestamp)
            gap = "" if previous is None else f"+{_short((at - previous).total_seconds())}"
            first = clean((event.detail or "").partition("\n")[0])
            style = "$text-error" if event.is_error else ""
            label = f"{event.label}{f': {first}' if first else ''}"
            moment = f"{at:%m-%d %H:%M:%S} {gap:>7}  "
            lines.append(Content.assemble((moment, "$quiet"), (label, style)))
            previous = at
        self.query_one("#job-timeline", Static).update(Content("\n").join(lines))

    def _show_steps(self, dump: JobDump) -> None:
        lines = []
        if (hidden := len(dump.steps) - _MOST_LINES) > 0:
            lines.append(Content.styled(f"{hidden:,} earlier steps", "$quiet"))
        for step in dump.steps[-_MOST_LINES:]:
            over = f"  {words}" if (words := sleep_words(step)) else ""
            attempt = f"  attempt {step.attempt}" if dump.job.attempt > 1 else ""
            moment = f"{step.ended_at:%m-%d %H:%M:%S} {say_seconds(step.seconds):>7}  "
            lines.append(
                Content.assemble((moment, "$quiet"), clean(step.name), (attempt + over, "$quiet"))
            )
        for part in ("#job-steps-title", "#job-steps"):
            self.query_one(part).display = bool(lines)
        self.query_one("#job-steps", Static).update(Content("\n").join(lines))

    def _show_errors(self, job: JobRow) -> None:
        box = self.query_one("#job-errors", Vertical)
        shown = len(box.children)
        for number, entry in enumerate(job.errors):
            if number < shown:
                continue
            last = number + 1 == len(job.errors)
            text = str(entry.get("error", ""))
            first = clean(text.partition("\n")[0])
            title = f"Attempt {entry.get('attempt', '?')}  {first}"
            fold = Collapsible(
                Static(trace(text)),
                title=Content(title).markup,
                collapsed=not last,
                collapsed_symbol="+" if self.app.ascii_only else "▶",
                expanded_symbol="-" if self.app.ascii_only else "▼",
            )
            box.mount(fold, before=0 if box.children else None)

    # Actions

    def action_scroll(self, step: int) -> None:
        """Scroll by a line."""
        self.query_one("#job", VerticalScroll).scroll_relative(y=step, animate=False)

    def action_edge(self, edge: str) -> None:
        """Scroll to the top or the bottom."""
        box = self.query_one("#job", VerticalScroll)
        if edge == "start":
            box.scroll_home(animate=False)
        else:
            box.scroll_end(animate=False)

    def _apply(self, make: Callable[[list[JobRow]], Change]) -> None:
        if self.value is not None:
            self.app.apply(make([self.value.job]))

    def action_retry(self) -> None:
        """Retry the job."""
        self._apply(changes.retry)

    def action_cancel(self) -> None:
        """Cancel the job."""
        self._apply(changes.cancel)

    def action_discard(self) -> None:
        """Delete the job."""
        self._apply(changes.discard)

    def action_priority(self) -> None:
        """Set the priority of the job."""

        def chosen(number: str | None) -> None:
            if number is not None:
                self._apply(lambda jobs: changes.set_priority(jobs, int(number)))

        self.app.push_screen(PickPriority(), chosen)

    def action_move(self) -> None:
        """Move the job to another queue."""

        def named(queue: str | None) -> None:
            if queue is not None:
                self._apply(lambda jobs: changes.move(jobs, queue))

        self.app.push_screen(AskText("Move to which queue?"), named)

    def action_attempts(self) -> None:
        """Show the attempts side by side."""
        from awa_cli.tui.screens.attempts import AttemptsScreen

        if self.value is not None:
            self.app.push_screen(AttemptsScreen(self.value.job))

    def action_logs(self) -> None:
        """Show what the newest run has logged."""
        from awa_cli.tui.screens.logs import LogsScreen

        if self.value is not None:
            self.app.push_screen(LogsScreen(self.value.job.id))

    def action_queue(self) -> None:
        """Open the queue of the job."""
        if self.value is not None:
            self.app.enter("queue", self.value.job.queue)

    def action_workflow(self) -> None:
        """Open the workflow of the job."""
        if self.value is not None and self.value.workflow is not None:
            self.app.enter("workflow", self.value.workflow.id)

    def action_same_kind(self) -> None:
        """Show the failed jobs of this kind."""
        if self.value is not None:
            from awa_cli.filters.text import add_word

            text = add_word("state:failed", "kind", self.value.job.kind)
            self.app.enter("jobs", filter=text)

    def action_copy(self) -> None:
        """Copy the job as JSON, or a command that shows or changes it."""
        if self.value is None:
            return
        job_id = self.value.job.id
        commands = [f"awa job show {job_id}", *job_commands(self.value)]
        options = [("json", "as JSON"), *[(line, line) for line in commands]]

        def chosen(name: str | None) -> None:
            if name is not None and self.value is not None:
                text = json.dumps(encode(self.value.job), indent=2, ensure_ascii=False)
                self.app.copy_to_clipboard(text if name == "json" else name)
                self.app.notify("Copied.")

        self.app.push_screen(Pick("Copy", options), chosen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide actions that the state of the job does not allow."""
        if self.value is not None:
            summary, state = self.value.summary, self.value.job.state
            allowed = {
                "retry": state in CAN_RETRY,
                "cancel": summary.can_cancel,
                "discard": not summary.can_cancel,
                "priority": state in QUEUED,
                "move": state in QUEUED,
                "workflow": self.value.workflow is not None,
            }
            if not allowed.get(action, True):
                return False
        return super().check_action(action, parameters)


def _since(moment: datetime) -> str:
    return _short((now() - moment).total_seconds())


def _countdown(left: float) -> tuple[str, str]:
    if left <= 0:
        return ("timed out", "$text-error")
    return (f"times out in {span(left)}", "$text-warning")


def _short(seconds: float) -> str:
    return f"{max(seconds, 0):.1f}s" if seconds < _TENTHS_BELOW_SECONDS else span(seconds)
