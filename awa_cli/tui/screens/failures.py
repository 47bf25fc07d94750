"""The list of failures: groups of attempts that failed in the same way."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual import work
from textual.binding import Binding
from textual.content import Content

from awa_cli.filters.text import add_word
from awa_cli.tui.changes import failures as changes
from awa_cli.tui.screens.detail_page import DetailPage
from awa_cli.tui.widgets.facts import facts
from awa_cli.views.failures import FAILURE_ROWS, all_failures, job_of, title_of
from awa_cli.views.words import clean, counted, now
from awa_lib.reads.failures import Failure

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["CHANGES", "FailuresPage", "about_failure"]

_MAX_FAILURES: Final = 200
_SPANS: Final = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
_FRAMES: Final = 4
CHANGES: Final = (
    Binding(
        "r", "retry", "Retry", id="failure.retry", tooltip="Retry its failed jobs and dead letters"
    ),
    Binding(
        "z",
        "mute",
        "Mute or unmute",
        id="failure.mute",
        tooltip="Mute it for a week, or show it again",
    ),
)
"""What the list and the page of one failure do to a failure."""


class FailuresPage(DetailPage[Failure]):
    """A row for each failure, the most frequent first; the panel shows where it was raised."""

    COLUMNS = FAILURE_ROWS
    EMPTY = "No failures in this time."
    ACTIONS: ClassVar = {"retry": "failure.retry", "mute": "failure.mute"}
    BINDINGS: ClassVar = [
        *CHANGES,
        Binding("w", "span", "Time range", id="failures.window"),
        Binding("a", "muted", "Show or hide muted", id="failures.muted"),
        Binding("e", "jobs", "Show jobs", show=False, id="failure.jobs"),
    ]

    @property
    def _span(self) -> str:
        name = str(self.app.saved_state.get("failures.window"))
        return name if name in _SPANS else "24h"

    @property
    def _muted(self) -> bool:
        return bool(self.app.saved_state.get("failures.muted", False))

    def query_op(self) -> Op[list[Failure]]:
        """Read the failures of the time range."""
        since = now() - _SPANS[self._span]
        return all_failures(since, muted=self._muted, limit=_MAX_FAILURES)

    def key(self, row: Failure) -> str:
        """Return the id."""
        return row.id

    def head(self, rows: list[Failure]) -> Content:
        """Return the time range, and the numbers of it."""
        parts: list[Any] = [("last ", "$quiet"), (self._span, "bold"), "  "]
        parts.append(counted(len(rows), "failure"))
        attempts = sum(one.total for one in rows)
        parts.append(f", {counted(attempts, 'attempt')} failed")
        if muted := sum(one.muted_until is not None for one in rows):
            parts.append((f", {muted} muted", "$quiet"))
        return Content.assemble(*parts)

    def about(self, row: Failure) -> Content:
        """Show the whole message, and where it was raised."""
        return about_failure(row, frames=_FRAMES)

    def opened(self, row: Failure) -> None:
        """Open the failure, or the job of one that only rows show."""
        page = job_of(row)
        self.app.enter(page or "failure", row.job_id if page else row.id)

    @work(group="change", exit_on_error=False)
    async def action_retry(self) -> None:
        """Retry the jobs that failed so last."""
        if (row := self.grid.row) is not None:
            await changes.retry(self.app, row.id)

    def action_mute(self) -> None:
        """Leave it out of lists for a week, or show it again."""
        if (row := self.grid.row) is not None:
            make = changes.unmute if row.muted_until else changes.mute
            self.app.apply(make(row.id))

    def action_span(self) -> None:
        """Show the next longer time range, or the shortest after the longest."""
        names = list(_SPANS)
        name = names[(names.index(self._span) + 1) % len(names)]
        self.app.saved_state.put("failures.window", name)
        self.reread()

    def action_muted(self) -> None:
        """Show or hide muted failures."""
        self.app.saved_state.put("failures.muted", not self._muted)
        self.reread()

    def action_jobs(self) -> None:
        """Show the failed jobs."""
        if (row := self.grid.row) is not None:
            field = ("kind", row.kinds[0]) if job_of(row) else ("failure", row.id)
            self.app.enter("jobs", filter=add_word("state:failed", *field))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Hide the changes of a failure that only rows show: it has no group."""
        if action in self.ACTIONS and ((row := self.grid.row) is None or job_of(row)):
            return False
        return super().check_action(action, parameters)


def about_failure(
    one: Failure, *, frames: int | None = None, example: str | None = None
) -> Content:
    """Return the message, the counts, and where it was raised: the last ``frames`` or all.

    ``example`` is the error of one of its jobs.
    """
    counts = [f"{one.total:,} attempts failed"]
    counts += [f"{one.failed:,} for good"] if one.failed else []
    counts += [f"{one.retried:,} retried"] if one.retried else []
    counts += [f"{one.cancelled:,} cancelled"] if one.cancelled else []
    counts += [f"{one.requeued:,} retried by a person since"] if one.requeued else []
    shown = one.frames if frames is None else one.frames[-frames:]
    where = [Content(clean(frame)) for frame in shown]
    lines = facts(
        [
            ("count", ", ".join(counts)),
            ("kinds", ", ".join(one.kinds)),
            ("queues", ", ".join(one.queues) or None),
            ("first", one.first_seen_at),
            ("last", one.last_seen_at),
            ("since", None if one.first_version is None else f"version {one.first_version}"),
            ("muted", one.muted_until),
            ("example", example),
            ("where", where or None),
        ]
    )
    title = Content.assemble((clean(title_of(one)), "bold $text-error"))
    return Content("\n").join([title, lines])
