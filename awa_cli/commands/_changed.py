"""Change jobs one by one and report the outcome as text or JSON."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from awa_cli.errors import ExitCode, complain, exit_code_for
from awa_cli.invocation import common
from awa_cli.parser.options import ReportFormat
from awa_cli.terminal.output import result, show_document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import typer

    from awa_cli.database.session import Session
    from awa_lib._sql import Op

__all__ = ["Chosen", "each", "print_line", "report"]


class Chosen(Protocol):
    """What the user chose: whether to change anything, and the output format."""

    @property
    def dry_run(self) -> bool:
        """Return whether nothing must be changed."""

    @property
    def output(self) -> ReportFormat:
        """Return the output format."""


def each(
    ctx: typer.Context,
    db: Session,
    chosen: Chosen,
    ids: Sequence[int],
    *,
    action: str,
    op: Callable[[int], Op[Any]],
    done: str,
    **detail: Any,
) -> int:
    """Change jobs one by one; an error of one job does not stop the others."""
    from awa_lib.errors import Conflict, NotFound

    code = ExitCode.OK
    changed: list[int] = []
    for job_id in ids:
        if chosen.dry_run:
            changed.append(job_id)
            print_line(chosen, str(job_id))
            continue
        try:
            db.change(action, job_id, op(job_id), **detail)
        except (Conflict, NotFound) as error:
            complain(str(error), error.why, error.hint, color=common(ctx).color(sys.stderr))
            code = exit_code_for(error)
        else:
            changed.append(job_id)
            print_line(chosen, f"{done} job {job_id}")
    report(chosen, len(changed), errored=len(ids) - len(changed), ids=changed)
    return code


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
