"""Run one change: of jobs given by id, or of all jobs that match a filter."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from awa_cli.commands import _changed
from awa_cli.commands._bulk import carry_out
from awa_cli.commands._changed import each, print_line, report
from awa_cli.commands._session import open_session
from awa_cli.errors import ExitCode, complain
from awa_cli.invocation import common
from awa_cli.parser.job_options import hint_at
from awa_cli.terminal.output import say
from awa_cli.terminal.prompts import ask
from awa_cli.views.words import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import typer

    from awa_cli.database.session import Session
    from awa_cli.parser.job_options import Selection
    from awa_lib._sql import Op
    from awa_lib.models import BulkOperation
    from awa_lib.ops.bulk import BulkPreview

__all__ = ["Change"]

_IDS_SHOWN: Final = 8
# The audit action for one job, by bulk operation.
_ACTIONS: Final = {
    "retry": "job.retry",
    "cancel": "job.cancel",
    "delete": "job.delete",
    "set_priority": "job.priority",
    "move_queue": "job.move",
}


@dataclass(frozen=True, slots=True)
class Change:
    """A way to change jobs: by id, or all that match by the bulk operation of this name."""

    operation: str
    done: str
    one: Callable[[int], Op[Any]]
    page: Callable[[Sequence[int]], Op[Sequence[int]]]
    spec: dict[str, Any] = field(default_factory=dict)

    def carry_out(self, ctx: typer.Context, chosen: Selection) -> int:
        """Change the jobs.  Raises InvalidInput unless either ids or a filter are given."""
        from awa_lib.errors import InvalidInput

        filters: Any = chosen.bulk_filter
        if bool(chosen.ids) == bool(filters or chosen.everything):
            raise InvalidInput(
                "ids and filters cannot be used together"
                if chosen.ids
                else "no jobs were selected",
                why="it is not clear whether a job must match both or one of them"
                if chosen.ids
                else None,
                hint=f"give ids, a filter such as --kind, or --all; see {ctx.command_path} --help",
            )
        with open_session(ctx, changing=not chosen.dry_run) as db:
            if chosen.ids:
                action = _ACTIONS[self.operation]
                change = _changed.Change(action, self.done, self.one, self.page, self.spec)
                return each(ctx, db, chosen, chosen.ids, change)
            return self._all(ctx, db, chosen, filters)

    def _all(
        self, ctx: typer.Context, db: Session, chosen: Selection, filters: dict[str, Any]
    ) -> int:
        """Show what matches, ask, and change it as a bulk operation."""
        from awa_cli.views.actions import submitted
        from awa_lib.ops.bulk import preview_bulk_operation, submit_bulk_operation

        found = db.run(preview_bulk_operation(self.operation, all=chosen.everything, **filters))
        if found.total_matched and chosen.dry_run:
            for job_id in found.sample[:_IDS_SHOWN]:
                print_line(chosen, str(job_id))
            report(chosen, found.total_matched, ids=found.sample)
            say(_found(found))
        elif found.total_matched:
            say(_found(found))
            ask(ctx, f"{_verb(ctx)} {counted(found.total_matched)}")
            submit = submit_bulk_operation(
                self.operation, submitted_by="awa", all=chosen.everything, **self.spec, **filters
            )
            operation = db.change("batch.submit", f"{self.operation} of jobs", submit, submitted)
            return self._report(ctx, chosen, carry_out(ctx, db, operation.id))
        else:
            print_line(chosen, "No jobs match.")
            report(chosen, 0)
            hint_at(db, chosen.query)
        return ExitCode.NOTHING if chosen.fail_empty and not found.total_matched else ExitCode.OK

    def _report(self, ctx: typer.Context, chosen: Selection, ended: BulkOperation) -> int:
        print_line(chosen, f"{self.done} {counted(ended.processed)}")
        report(
            chosen, ended.processed, skipped=ended.skipped, errored=ended.errored, batch_id=ended.id
        )
        if ended.skipped:
            say(f"Skipped {counted(ended.skipped)} locked or changed by another session.")
        if ended.errored:
            complain(
                f"{counted(ended.errored)} could not be changed",
                ended.last_error,
                color=common(ctx).color(sys.stderr),
            )
            return ExitCode.FAILED
        return ExitCode.OK


def _found(found: BulkPreview) -> str:
    """Return how many jobs match, their states if there are several, and the first ids."""
    total = found.total_matched
    states = ""
    if len(found.states) > 1:
        counts = (f"{number:,} {state.replace('_', ' ')}" for state, number in found.states.items())
        states = f" ({', '.join(counts)})"
    shown = ", ".join(map(str, found.sample[:_IDS_SHOWN]))
    more = " …" if total > min(len(found.sample), _IDS_SHOWN) else ""
    return f"{counted(total)} {'matches' if total == 1 else 'match'}{states}: {shown}{more}"


def _verb(ctx: typer.Context) -> str:
    return {"priority": "change the priority of"}.get(str(ctx.info_name), str(ctx.info_name))
