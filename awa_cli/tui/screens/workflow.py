"""One workflow, live: its progress, and its graph with what each task does or waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding
from textual.content import Content

from awa_cli.filters.text import add_word
from awa_cli.tui.changes import workflows as changes
from awa_cli.tui.screens.detail_page import DetailPage
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.states import WORKFLOW_STYLES, state_sign
from awa_cli.views.widths import cut
from awa_cli.views.words import age, clean, span
from awa_cli.views.workflow_tasks import (
    can_retry,
    cause_of,
    first_line,
    job_words,
    members_of,
    no_job_words,
    some_names,
    state_of,
    took_of,
    wait_words,
)
from awa_cli.views.workflow_tree import TREE, Item, commands_of, failed_of, items_of
from awa_cli.views.workflows import (
    can_cancel,
    counts_of,
    done_of,
    left_of,
    state_words,
    title_of,
)
from awa_lib.reads.workflow_tasks import workflow_details

if TYPE_CHECKING:
    from awa_cli.tui.widgets.grid import Grid
    from awa_lib._sql import Op
    from awa_lib.reads.workflow_tasks import WorkflowDetails, WorkflowTask
    from awa_lib.reads.workflows import WorkflowOverview

__all__ = ["WorkflowPage", "job_page_of"]

_READ_TASKS: Final = 200
# Of a larger graph the rest is in the list of tasks.
_MAX_TASKS: Final = 1_000
_SHORTEST_TITLE: Final = 8
_COUNT_STYLES: Final = {"failed": "bold $text-error", "skipped": "$quiet", "cancelled": "$quiet"}


class WorkflowPage(DetailPage[Item]):
    """A workflow; the subject of the visit is its id.  A line for each task, group and signal."""

    COLUMNS = TREE
    EMPTY = "No tasks."
    ACTIONS: ClassVar = {
        "cancel": "workflow.cancel",
        "retry": "workflow.retry-tasks",
        "signal": "workflow.signal",
    }
    BINDINGS: ClassVar = [
        Binding(
            "r",
            "retry",
            "Retry",
            id="workflow.retry",
            tooltip="Retry tasks, alone or with all tasks behind them",
        ),
        Binding("c", "cancel", "Cancel", id="workflow.cancel"),
        Binding("i", "signal", "Signal", id="workflow.signal", tooltip="Send a signal"),
        Binding("e", "failed", "Failed tasks", id="workflow.failed"),
        Binding("a", "tasks", "All tasks", id="workflow.tasks"),
        Binding("y", "copy", "Copy", id="workflow.copy", tooltip="Copy a command"),
    ]

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self._limit: int = self.visit.state.get("limit", _READ_TASKS)
        self.details: WorkflowDetails | None = self.visit.state.get("details")

    @property
    def workflow(self) -> int:
        """Return the id."""
        return int(self.visit.subject)

    def on_mount(self) -> None:
        """Keep the order of the graph."""
        self.grid.sorts_itself = False

    def query_op(self) -> Op[list[Item]]:
        """Read the workflow with its graph."""
        self.details = yield from workflow_details(self.workflow, limit=self._limit)
        return items_of(self.details)

    def keep(self) -> dict[str, Any]:
        """Keep the workflow, and how much of it is read."""
        return {**super().keep(), "details": self.details, "limit": self._limit}

    def key(self, row: Item) -> int:
        """Return the number of the task."""
        return row.task.number

    def on_grid_near_end(self, event: Grid.NearEnd) -> None:
        """Read more of a large graph when the cursor comes close to the end."""
        more = self.details is not None and self.details.more
        whole = self.value is not None and len(self.value) >= self._limit
        if event.edge == "end" and more and whole and self._limit < _MAX_TASKS:
            self._limit += _READ_TASKS
            self.reread()

    def order_by(self, key: str) -> None:
        """Keep the order of the graph."""

    # What is shown

    def head(self, rows: list[Item]) -> Content:
        """Return the progress, the numbers, and the first task that failed."""
        if (details := self.details) is None:
            return Content("")
        one = details.workflow
        lines = [self._progress(one), self._counts(one, len(rows), more=details.more)]
        if failed := failed_of(details):
            lines.append(self._failure(failed[0], one.failed))
        room = max(self.app.size.width - 2, 0)
        return Content("\n").join([line.truncate(room, ellipsis=True) for line in lines])

    def _progress(self, one: WorkflowOverview) -> Content:
        sign = state_sign(one.state, ascii_only=self.app.ascii_only)
        style = self.app.paint.css(WORKFLOW_STYLES[one.state])
        open_tasks = one.waiting + one.started
        width = 30 if self.app.is_wide else 10
        done = width * (one.tasks - open_tasks) // one.tasks if one.tasks else width
        full, rest = ("#", "-") if self.app.ascii_only else ("━", "─")
        state = Content.assemble((f"{sign} {state_words(one)}", style), "  ")
        parts: list[Any] = [
            "  ",
            (full * done, "$text-success"),
            (rest * (width - done), "$faint"),
            (f" {done_of(one)}", "bold"),
            ("  took " if one.finished_at else "  age ", "$quiet"),
            span(one.seconds),
        ]
        if left := left_of(one):
            parts += [("  left ", "$quiet"), left]
        numbers = Content.assemble(*parts)
        # A long name is cut, not the numbers behind it.
        room = self.app.size.width - 2 - state.cell_length - numbers.cell_length
        return Content.assemble(state, cut(title_of(one), max(room, _SHORTEST_TITLE)), numbers)

    def _counts(self, one: WorkflowOverview, lines: int, *, more: bool) -> Content:
        dot = "  " if self.app.ascii_only else " · "
        parts: list[Any] = []
        for state, count in counts_of(one):
            parts += [dot] if parts else []
            parts.append((f"{count:,} {state}", _COUNT_STYLES.get(state, "")))
        if more:
            shown = f"  the first {lines:,} lines of the graph are shown"
            parts.append((shown, "$text-warning"))
        return Content.assemble(*parts)

    def _failure(self, task: WorkflowTask, failed: int) -> Content:
        sign = state_sign("failed", ascii_only=self.app.ascii_only)
        parts: list[Any] = [
            (f"{sign} {clean(task.name)}", "bold $text-error"),
            (f"  {job_words(task) or ''}  ", "$quiet"),
            (first_line(task), "$text-error"),
        ]
        if failed > 1:
            parts.append((f"  and {failed - 1:,} more", "$quiet"))
        return Content.assemble(*parts)

    def about(self, row: Item) -> Content:
        """Show a task, and what it waits for."""
        return _about(row)

    # What can be done

    def opened(self, row: Item) -> None:
        """Open the job of a task, or the tasks of a group; send a signal."""
        task = row.task
        if task.members is not None:
            self._show_tasks(add_word("", "group", task.name))
        elif task.type == "signal" and task.state == "waiting" and self.check_action("signal", ()):
            self._ask_signal([task.name])
        elif (page_id := job_page_of(task)) is not None:
            self.app.enter(page_id, task.job_id)
        else:
            self.app.notify(no_job_words(task), markup=False)

    def _show_tasks(self, text: str) -> None:
        self.app.enter("tasks", self.workflow, filter=text)

    def action_failed(self) -> None:
        """Show the failed tasks, with those of groups."""
        self._show_tasks("state:failed")

    def action_tasks(self) -> None:
        """Show all tasks as a list."""
        self._show_tasks("")

    def action_cancel(self) -> None:
        """Cancel the workflow."""
        if self.details is not None:
            self.app.apply(changes.cancel(self.details.workflow))

    @work(group="change", exit_on_error=False)
    async def action_retry(self) -> None:
        """Retry the selected tasks, or those that failed."""
        if self.details is not None:
            tasks = [item.task for item in self.grid.selected]
            await changes.retry(self.app, self.details.workflow, tasks)

    def action_signal(self) -> None:
        """Send a signal that was not sent yet, or another."""
        if self.details is not None:
            tasks = [task for task in self.details.tasks if task.type == "signal"]
            self._ask_signal([task.name for task in tasks if task.state == "waiting"])

    @work(group="change", exit_on_error=False)
    async def _ask_signal(self, names: list[str]) -> None:
        if self.details is not None:
            await changes.send(self.app, self.details.workflow, names)

    def action_copy(self) -> None:
        """Copy a command that shows or changes the workflow."""
        from awa_cli.tui.widgets.dialogs import Pick

        if self.details is None:
            return
        commands = [f"awa workflow show {self.workflow}", *commands_of(self.details)]

        def chosen(line: str | None) -> None:
            if line is not None:
                self.app.copy_to_clipboard(line)
                self.app.notify("Copied.")

        self.app.push_screen(Pick("Copy", [(line, line) for line in commands]), chosen)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide what the workflow and the task under the cursor do not allow."""
        if action == "sort":
            return False
        if action in {*self.ACTIONS, "failed"} and not self._allows(action):
            return False
        return super().check_action(action, parameters)

    def _allows(self, action: str) -> bool:
        if self.details is None:
            return False
        one = self.details.workflow
        if action == "cancel":
            return can_cancel(one)
        if action == "signal":
            return one.state == "open"
        if action == "failed":
            return one.failed > 0
        row = self.grid.row if self.value else None
        return one.failed + one.cancelled > 0 or (row is not None and can_retry(row.task))


def job_page_of(task: WorkflowTask) -> str | None:
    """Return the page of the job of a task; None while it has none, or when it was deleted."""
    if task.job_state is None:
        return None
    return "dead_letter" if task.job_state == "dead" else "job"


def _about(item: Item) -> Content:
    """Return what is known about a task, a group or a signal."""
    task = item.task
    waits = wait_words(task)
    conditions = [task.when] if task.when != "all_succeeded" else []
    if task.on_parent_failure == "wait":
        conditions.append("waits when a parent fails")
    lines = facts(
        [
            ("tasks", None if task.members is None else members_of(task.members)),
            ("job", (job_words(task) or "").removeprefix("job ") or None),
            ("kind", None if task.kind is None else f"{task.kind} in queue {task.queue}"),
            ("waits", None if waits is None else waits.removeprefix("waits ")),
            ("because", cause_of(task)),
            ("after", f"also {some_names(item.others)}" if item.others else None),
            ("when", ", ".join(conditions) or None),
            ("began", age(task.started_at)),
            ("took", took_of(task) or None),
            ("ended", age(task.ended_at)),
            ("error", [Content(clean(line)) for line in (task.error or "").splitlines()] or None),
        ]
    )
    title = Content.assemble((clean(task.name), "bold $text-accent"), f"  {state_of(task)}")
    return Content("\n").join([title, lines])
