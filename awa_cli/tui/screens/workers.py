"""The list of workers: their loops, queues, leader and versions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.content import Content

from awa_cli.tui.screens.detail_page import DetailPage
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.alerts import has_gone
from awa_cli.views.columns import WORKERS
from awa_cli.views.words import clean, counted
from awa_cli.views.workers import LOOPS, silence, worker_name
from awa_lib.reads.runtime import RuntimeInstance, live_instances, runtime_instances

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["WorkersPage"]

_NAME_WIDTH: Final = 20
_BAR_WIDTH: Final = 16


class WorkersPage(DetailPage[RuntimeInstance]):
    """A row for each process; the panel shows its loops and queues."""

    # The line above the list has the versions of the application too.
    COLUMNS = tuple(replace(one, wide=one.wide or one.key == "app") for one in WORKERS)
    EMPTY = "No workers.  Start a worker: awa worker run"
    BINDINGS: ClassVar = [
        Binding(
            "a",
            "stale",
            "Show or hide ended",
            id="workers.silent",
            tooltip="Show or hide workers that stopped, or fell silent within a day",
        )
    ]

    @property
    def _all(self) -> bool:
        return bool(self.app.saved_state.get("workers.silent", True))

    def query_op(self) -> Op[list[RuntimeInstance]]:
        """Read the live workers, and if they are shown those that fell silent or stopped."""
        if not self._all:
            return (yield from live_instances())
        return [one for one in (yield from runtime_instances()) if not has_gone(one)]

    def key(self, row: RuntimeInstance) -> str:
        """Return the id."""
        return row.instance_id

    def head(self, rows: list[RuntimeInstance]) -> Content:
        """Return the number of workers, the leader, and the versions."""
        live = [one for one in rows if not one.stale and not one.stopped]
        if not rows:
            return Content("")
        parts: list[Any] = [
            counted(len(live), "worker"),
            f", {sum(one.in_flight for one in live):,} in flight",
        ]
        leaders = [worker_name(one) for one in live if one.leader]
        parts += [("   leader  ", "$quiet")]
        parts += [", ".join(leaders)] if leaders else [("none", "bold $text-error")]
        versions = sorted({one.version for one in live})
        if versions:
            style = "$text-warning" if len(versions) > 1 else ""
            parts += [("   version  ", "$quiet"), (clean(", ".join(versions)), style)]
        applications = sorted({one.app_version for one in live if one.app_version is not None})
        if applications:
            style = "$text-warning" if len(applications) > 1 else ""
            parts += [("   application  ", "$quiet"), (clean(", ".join(applications)), style)]
        if silent := sum(one.silent for one in rows):
            parts += [(f"   {silent:,} silent", "$text-error")]
        if stopped := sum(one.stopped for one in rows):
            parts += [(f"   {stopped:,} stopped", "$quiet")]
        return Content.assemble(*parts)

    def about(self, row: RuntimeInstance) -> Content:
        """Show its loops, and its jobs in flight by queue."""
        loops = Content("  ").join(self._loop(row, name) for name in LOOPS)
        limit = counted(row.global_max_workers) if row.global_max_workers else None
        lines = facts(
            [
                ("id", row.instance_id),
                ("loops", loops),
                ("seen", row.last_seen_at),
                ("started", row.started_at),
                ("awa", row.version),
                ("application", row.app_version),
                ("storage", row.storage_capability.replace("_", " ")),
                ("at most", limit),
            ]
        )
        queues = [self._queue(one) for one in row.queues]
        title = Content.styled(worker_name(row), "bold $text-accent")
        if row.leader and not row.stale:
            title = Content.assemble(title, ("  leader", "$text-success"))
        if row.stopped:
            title = Content.assemble(title, ("  stopped", "$quiet"))
        elif row.silent:
            title = Content.assemble(title, (f"  {silence(row)}", "bold $text-error"))
        elif row.shutting_down:
            title = Content.assemble(title, ("  stopping", "$text-warning"))
        return Content("\n").join([title, lines, *queues])

    def _loop(self, row: RuntimeInstance, name: str) -> Content:
        up = bool(getattr(row, LOOPS[name]))
        if row.stale or row.stopped:
            return Content.styled(f"{'?' if self.app.ascii_only else '·'} {name}", "$quiet")
        sign = ("+" if up else "x") if self.app.ascii_only else ("✓" if up else "✗")
        return Content.styled(f"{sign} {name}", "$text-success" if up else "bold $text-error")

    def _queue(self, queue: dict[str, Any]) -> Content:
        """Draw the jobs in flight of a queue as a share of its limit."""
        running = int(queue.get("in_flight", 0))
        limit = queue.get("config", {}).get("max_workers") or 0
        waiting = int(queue.get("waiting") or 0)
        done = min(_BAR_WIDTH, round(_BAR_WIDTH * running / limit)) if limit else 0
        held = min(done, -(-_BAR_WIDTH * waiting // limit)) if limit else 0
        full, rest = ("#", "-") if self.app.ascii_only else ("━", "─")
        name = clean(queue.get("queue", ""))
        return Content.assemble(
            (f"{name[:_NAME_WIDTH]:<{_NAME_WIDTH}} ", ""),
            (full * held, "$text-secondary"),
            (full * (done - held), "$text-warning"),
            (rest * (_BAR_WIDTH - done), "$faint"),
            f" {running:,}",
            (f" of {limit:,}" if limit else "", "$quiet"),
            (f", {waiting:,} wait for callbacks" if waiting else "", "$text-secondary"),
        )

    def opened(self, row: RuntimeInstance) -> None:
        """Open its queue; ask which if it has several."""
        queues = [str(one["queue"]) for one in row.queues]
        if len(queues) == 1:
            self.app.enter("queue", queues[0])
        elif queues:
            from awa_cli.tui.widgets.dialogs import Pick

            def chosen(queue: str | None) -> None:
                if queue is not None:
                    self.app.enter("queue", queue)

            self.app.push_screen(Pick("Open which queue?", [(one, one) for one in queues]), chosen)

    def action_stale(self) -> None:
        """Show or hide the workers that have ended."""
        self.app.saved_state.put("workers.silent", not self._all)
        self.reread()
