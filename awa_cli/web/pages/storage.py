"""The page of the move to another storage engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_cli.views.storage import REST, moving, steps_ahead
from awa_cli.views.words import counted
from awa_cli.web import api
from awa_cli.web.api.fields import Name
from awa_cli.web.json_schema import Schemas, from_text
from awa_cli.web.pages.render import act, at, fields, read, render
from awa_cli.web.pages.values import Source, answer
from awa_cli.web.scope import identity_of
from awa_lib.errors import InvalidInput
from awa_lib.reads.storage import storage_report

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["abort", "ask", "prepare", "show"]


@dataclass(frozen=True, slots=True)
class Step:
    """A state of the move, its meaning, and whether it can be undone."""

    state: str
    means: str
    undo: str


# The states of the schema's functions.  This release has none that leads past prepared.
STEPS: Final = (
    Step("canonical", "All jobs are in the canonical tables.", "Nothing to undo."),
    Step(
        "prepared",
        "The new engine is recorded. No job moves yet.",
        "Abort undoes it.",
    ),
    Step(
        "mixed_transition",
        "New jobs go to the new engine, old jobs stay until they end. Needs a later release.",
        "Check before you abort: both engines have jobs.",
    ),
    Step(
        "active",
        "The new engine has all jobs.",
        "Cannot be undone: abort has no effect.",
    ),
)


async def show(request: Request) -> Response:
    """Show the state of the move."""
    report = await read(request, storage_report())
    source = Source("Storage", at("storage"))
    if "value" in request.query_params:
        return await answer(request, source, {"details": report.details})
    known = {step.state: step for step in STEPS}
    steps = [*STEPS]
    if report.state not in known:
        steps.append(Step(report.state, "This release does not know this state.", ""))
    counts = report.live_runtime_capability_counts
    fleet = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items()]
    return await render(
        request,
        "storage.html",
        part="parts/storage.html",
        report=report,
        source=source,
        values={"details": report.details},
        steps=steps,
        moving=moving(report),
        rest=REST,
        ahead=steps_ahead(report),
        fleet=", ".join(fleet) or "no live worker",
        backlog=f"{counted(report.canonical_live_backlog)} in the canonical tables",
        # The same conditions as in the monitor.
        can_prepare=report.state in {"canonical", "prepared"},
        can_abort=report.prepared_engine is not None and report.state != "active",
    )


async def ask(request: Request) -> Response:
    """Show the dialog that asks for the engine."""
    return await render(request, "parts/storage_prepare.html")


async def prepare(request: Request) -> Response:
    """Record the engine to move to."""
    await request.app.state.awa.require_operate(identity_of(request.scope))
    form = await fields(request)
    if "engine" not in form:
        raise InvalidInput("engine is missing", hint="enter an engine, like queue_storage")
    engine = from_text(Schemas().of(Name), form["engine"], "engine")
    op = api.overview.prepare(identity_of(request.scope), engine=engine)
    return await act(request, op, "storage.prepare", engine)


async def abort(request: Request) -> Response:
    """Abort the preparation of an engine."""
    op = api.overview.abort(identity_of(request.scope))
    return await act(request, op, "storage.abort", "")
