"""Change jobs by id and report the outcome as text or JSON."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from awa_cli.errors import ExitCode, complain, exit_code_for
from awa_cli.invocation import common
from awa_cli.parser.options import ReportFormat
from awa_cli.terminal.output import result, say, show_document
from awa_cli.terminal.progress import Progress
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import typer

    from awa_cli.database.session import Session
    from awa_lib._sql import Op

__all__ = ["Change", "Chosen", "each", "print_line", "report"]

# Up to so many jobs each has its own line, and its own entry in the audit log.
_ONE_BY_ONE: Final = 20
_PAGE: Final = 500
# Of many jobs that cannot be changed, so many reasons are shown.
_COMPLAINTS: Final = 10


class Chosen(Protocol):
    """What the user chose: whether to change anything, and the output format."""

    @property
    def dry_run(self) -> bool:
        """Return whether nothing must be changed."""

    @property
    def output(self) -> ReportFormat:
        """Return the output format."""


@dataclass(frozen=True, slots=True)
class Change:
    """A way to change a job, and a way to change as many of a page of jobs as can be.

    ``page`` returns the ids of those that it changed.
    """

    action: str
    done: str
    one: Callable[[int], Op[Any]]
    page: Callable[[Sequence[int]], Op[Sequence[int]]]
    detail: dict[str, Any] = field(default_factory=dict)


def each(
    ctx: typer.Context, db: Session, chosen: Chosen, ids: Sequence[int], change: Change
) -> int:
    """Change jobs by id: a few one by one, more in pages.

    What cannot be changed does not stop the rest.
    """
    ids = list(dict.fromkeys(ids))
    if chosen.dry_run:
        for job_id in ids:
            print_line(chosen, str(job_id))
        report(chosen, len(ids), ids=ids)
        return ExitCode.OK
    made = _Made(ctx, db, change)
    if len(ids) <= _ONE_BY_ONE:
        for job_id in ids:
            if made.one(job_id):
                print_line(chosen, f"{change.done} job {job_id}")
    else:
        made.pages(ids)
        print_line(chosen, f"{change.done} {counted(len(made.changed))}")
    report(chosen, len(made.changed), errored=made.refused, ids=made.changed)
    return made.code


@dataclass(slots=True)
class _Made:
    """The changes made so far, and those refused."""

    ctx: typer.Context
    db: Session
    change: Change
    changed: list[int] = field(default_factory=list)
    refused: int = 0
    code: ExitCode = ExitCode.OK

    def one(self, job_id: int) -> bool:
        """Change a job; complain and return False if it cannot be changed."""
        from awa_lib.errors import Conflict, NotFound

        change = self.change
        try:
            self.db.change(change.action, job_id, change.one(job_id), **change.detail)
        except (Conflict, NotFound) as error:
            complain(str(error), error.why, error.hint, color=common(self.ctx).color(sys.stderr))
            self.refused += 1
            self.code = exit_code_for(error)
            return False
        self.changed.append(job_id)
        return True

    def pages(self, ids: Sequence[int]) -> None:
        """Change jobs page by page, each in a transaction; complain about the first refused."""
        try:
            with Progress(common(self.ctx)) as progress:
                for start in range(0, len(ids), _PAGE):
                    self._page(ids[start : start + _PAGE])
                    progress.show(min(start + _PAGE, len(ids)), len(ids))
        except BaseException:
            # Each page is committed: an error must not hide what is done.
            say(f"Stopped; {self.change.done.lower()} {counted(len(self.changed))}.")
            raise
        if (unsaid := self.refused - _COMPLAINTS) > 0:
            color = common(self.ctx).color(sys.stderr)
            complain(f"{counted(unsaid, 'more job')} could not be changed", None, color=color)

    def _page(self, ids: Sequence[int]) -> None:
        change = self.change
        changed = self.db.change(
            change.action,
            counted(len(ids)),
            change.page(ids),
            lambda changed: {"jobs": len(changed), "ids": list(changed)},
            **change.detail,
        )
        self.changed += changed
        for job_id in sorted(set(ids) - set(changed)):
            if self.refused < _COMPLAINTS:
                self.one(job_id)
            else:
                self.refused += 1


def print_line(chosen: Chosen, text: str) -> None:
    """Print a line of text, unless JSON was requested."""
    if chosen.output is ReportFormat.table:
        result(text)


def report(
    chosen: Chosen,
    changed: int,
    *,
    skipped: int = 0,
    errored: int = 0,
    ids: Sequence[int] = (),
    batch_id: str | None = None,
) -> None:
    """Print the outcome, if JSON was requested."""
    if chosen.output is ReportFormat.json:
        from awa_cli.documents.reports import Changed

        show_document(Changed(chosen.dry_run, changed, skipped, errored, list(ids), batch_id))
