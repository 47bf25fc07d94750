"""The storage transition: its state, and what blocks the next step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from awa_cli.tui.changes.change import Change
from awa_cli.tui.screens.page import Page
from awa_cli.tui.widgets.dialogs import AskText
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.storage import REST, moving, steps_ahead
from awa_cli.views.words import clean, counted
from awa_lib.ops.storage import abort, prepare
from awa_lib.reads.storage import StorageReport, storage_report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from awa_lib._sql import Op

__all__ = ["StoragePage"]

_STEPS: Final = ("canonical", "prepared", "mixed_transition", "active")


class StoragePage(Page[StorageReport]):
    """The steps, the engines, the workers, and the blockers of the next step."""

    ACTIONS: ClassVar = {"prepare": "storage.prepare", "abort": "storage.abort"}
    BINDINGS: ClassVar = [
        Binding("p", "prepare", "Prepare", id="storage.prepare"),
        Binding("d", "abort", "Abort", id="storage.abort"),
        Binding("j", "scroll(1)", "Down", show=False, id="storage.down"),
        Binding("k", "scroll(-1)", "Up", show=False, id="storage.up"),
    ]

    def query_op(self) -> Op[StorageReport]:
        """Read the report."""
        return storage_report()

    def body(self) -> ComposeResult:
        """Yield a text that scrolls."""
        with VerticalScroll(id="storage"):
            yield Static(id="storage-text")

    def on_mount(self) -> None:
        """Focus the text."""
        self.query_one("#storage").focus()

    def show(self, value: StorageReport) -> None:
        """Show the report, in place."""
        counts = value.live_runtime_capability_counts
        workers = ", ".join(f"{count} {_plain(name)}" for name, count in counts.items())
        details = json.dumps(value.details, ensure_ascii=False) if value.details else None
        lines = facts(
            [
                ("engine", value.current_engine),
                ("active", value.active_engine),
                ("prepared", value.prepared_engine or "none"),
                ("schema", _schema(value)),
                ("details", details),
                ("workers", workers or "no live worker"),
                ("backlog", f"{counted(value.canonical_live_backlog)} in the canonical tables"),
                ("epoch", value.transition_epoch),
                ("entered", value.entered_at),
                ("finalized", value.finalized_at),
            ]
        )
        under_way = moving(value)
        rest = [] if under_way else [Content(REST)]
        steps = [self._step(*step, under_way=under_way) for step in steps_ahead(value)]
        text = Content("\n\n").join([self._path(value.state), *rest, lines, *steps])
        self.query_one("#storage-text", Static).update(text)

    def _path(self, state: str) -> Content:
        """Draw the steps, with the current state."""
        arrow = " -> " if self.app.ascii_only else " → "
        steps = [*_STEPS] if state in _STEPS else [*_STEPS, state]
        parts: list[Any] = []
        for step in steps:
            here = step == state
            parts.append((arrow if parts else "", "$faint"))
            parts.append((_plain(step), "bold $text-success" if here else "$quiet"))
        return Content.assemble(*parts)

    def _step(self, title: str, blockers: Sequence[str], *, under_way: bool) -> Content:
        good, bad, ahead = ("+", "x", "-") if self.app.ascii_only else ("✓", "✗", "·")
        mark = (f"{bad} ", "bold $text-error") if under_way else (f"{ahead} ", "$quiet")
        lines = [Content.styled(title, "bold $text-accent")]
        lines += [Content.assemble(mark, clean(one)) for one in blockers] or [
            Content.assemble((f"{good} ", "$text-success"), "no blockers")
        ]
        return Content("\n").join(lines)

    def action_scroll(self, step: int) -> None:
        """Scroll by a line."""
        self.query_one("#storage", VerticalScroll).scroll_relative(y=step, animate=False)

    def action_prepare(self) -> None:
        """Prepare the move to another engine."""

        def named(engine: str | None) -> None:
            if engine is not None:
                self.app.apply(
                    Change("storage.prepare", engine, lambda: prepare(engine)),
                    note="Jobs are not affected.",
                )

        self.app.push_screen(AskText("Prepare which engine?", "queue_storage"), named)

    def action_abort(self) -> None:
        """Forget the prepared engine."""
        self.app.apply(Change("storage.abort", "", abort), note="Jobs are not affected.")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the abort while no engine is prepared."""
        if action == "abort" and (self.value is None or self.value.prepared_engine is None):
            return False
        return super().check_action(action, parameters)


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _schema(value: StorageReport) -> str | None:
    name = value.prepared_queue_storage_schema
    if name is None:
        return None
    return f"{name}, {'ready' if value.prepared_schema_ready else 'not ready'}"
