"""One dead letter: its reason, data and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Collapsible, Static

from awa_cli.tui.changes import dead_letters as changes
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.facts import facts
from awa_cli.tui.widgets.json_tree import JsonTree
from awa_cli.tui.widgets.trace import trace
from awa_cli.views.words import clean
from awa_lib.reads.dead_letters import DeadLetter, dead_letter

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from awa_lib._sql import Op

__all__ = ["DeadLetterPage"]


class DeadLetterPage(Page[DeadLetter]):
    """A dead letter; the subject of the visit is its id."""

    ACTIONS: ClassVar = {"retry": "dlq.retry", "purge": "dlq.purge"}
    BINDINGS: ClassVar = [
        Binding("r", "retry", "Retry", id="letter.retry"),
        Binding("d", "purge", "Purge", id="letter.purge"),
        Binding("o", "queue", "Open queue", id="letter.queue"),
        Binding("j", "scroll(1)", "Down", show=False, id="letter.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="letter.up"),
    ]

    def query_op(self) -> Op[DeadLetter]:
        """Read it."""
        return dead_letter(int(self.visit.subject))

    def body(self) -> ComposeResult:
        """Yield facts and errors on the left, data on the right; in one column if narrow."""
        with VerticalScroll(id="job"):
            with Vertical(id="job-left"):
                yield Static(id="dead-letter-facts")
                yield Vertical(id="job-errors")
            with Vertical(id="job-right"):
                yield JsonTree("Args", id="args")
                yield JsonTree("Metadata", id="metadata")

    def on_mount(self) -> None:
        """Focus the part that scrolls."""
        self.query_one("#job").focus()

    def show(self, value: DeadLetter) -> None:
        """Show it, in place."""
        title = Content.assemble(
            ("x " if self.app.ascii_only else "✗ ", "bold $text-error"),
            (clean(value.kind), "bold"),
            (f"  {clean(value.reason)}", "$text-error"),
        )
        lines = facts(
            [
                ("queue", value.queue),
                ("dead", value.dead_at),
                ("attempts", f"{value.attempt} of {value.max_attempts}"),
                ("tags", ", ".join(value.tags) or None),
                ("created", value.created_at),
                ("failed", value.finalized_at),
            ]
        )
        self.query_one("#dead-letter-facts", Static).update(Content("\n").join([title, lines]))
        self.query_one("#args", JsonTree).show(value.args)
        self.query_one("#metadata", JsonTree).show(value.metadata)
        box = self.query_one("#job-errors", Vertical)
        for number, entry in enumerate(value.errors[len(box.children) :], len(box.children)):
            text = str(entry.get("error", ""))
            first = clean(text.partition("\n")[0])
            title = Content(f"Attempt {entry.get('attempt', '?')}  {first}")
            last = number + 1 == len(value.errors)
            fold = Collapsible(Static(trace(text)), title=title.markup, collapsed=not last)
            box.mount(fold, before=0 if box.children else None)

    def changed(self) -> None:
        """Leave the page: after any change the dead letter is gone."""
        self.app.action_out()

    def action_scroll(self, step: int) -> None:
        """Scroll by a line."""
        self.query_one("#job", VerticalScroll).scroll_relative(y=step, animate=False)

    def action_retry(self) -> None:
        """Retry it."""
        if self.value is not None:
            self.app.apply(changes.retry([self.value]))

    def action_purge(self) -> None:
        """Delete it."""
        if self.value is not None:
            self.app.apply(changes.purge([self.value]))

    def action_queue(self) -> None:
        """Open its queue."""
        if self.value is not None:
            self.app.enter("queue", self.value.queue)
