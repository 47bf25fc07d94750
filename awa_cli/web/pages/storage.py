"""The move to another storage engine: where it stands, what blocks it, what can be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from awa_cli.views.storage import REST, moving, steps_ahead
from awa_cli.views.words import counted
from awa_cli.web import api
from awa_cli.web.api._fields import Name
from awa_cli.web.json_schema import Schemas, from_text
from awa_cli.web.pages._render import act, fields, read, render
from awa_cli.web.scope import identity_of
from awa_lib.errors import InvalidInput
from awa_lib.reads.storage import storage_report

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["abort", "ask", "prepare", "show"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the move: what it means, and whether it can be taken back."""

    state: str
    means: str
    back: str


# As the functions of the schema are; those that go on from prepared are not in this release.
STEPS: Final = (
    Step("canonical", "All jobs are in the canonical tables.", "Nothing to take back."),
    Step(
        "prepared",
        "An engine is noted. Jobs go on as before: no job moves.",
        "Can be taken back: abort forgets the engine.",
    ),
    Step(
        "mixed_transition",
        "New jobs go to the new engine, old ones end where they are. Needs a later release.",
        "Look before you abort: jobs are in both engines.",
    ),
    Step(
        "active",
        "The new engine has all jobs.",
        "Cannot be taken back: abort changes nothing any more.",
    ),
)


async def show(request: Request) -> Response:
    """Answer with the report."""
    report = await read(request, storage_report())
    known = {step.state: step for step in STEPS}
    steps = [*STEPS]
    if report.state not in known:
        steps.append(Step(report.state, "A step that this release does not know.", ""))
    counts = report.live_runtime_capability_counts
    fleet = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items()]
    return await render(
        request,
        "storage.html",
        part="parts/storage.html",
        report=report,
        steps=steps,
        moving=moving(report),
        rest=REST,
        ahead=steps_ahead(report),
        fleet=", ".join(fleet) or "no live worker",
        backlog=f"{counted(report.canonical_live_backlog)} in the canonical tables",
        # As the monitor offers it.
        can_prepare=report.state in {"canonical", "prepared"},
        can_abort=report.prepared_engine is not None and report.state != "active",
    )


async def ask(request: Request) -> Response:
    """Answer with the dialog that asks for the engine."""
    return await render(request, "parts/storage_ask.html")


async def prepare(request: Request) -> Response:
    """Note an engine as the one to move to."""
    await request.app.state.awa.require_operate(identity_of(request.scope))
    sent = await fields(request)
    if "engine" not in sent:
        raise InvalidInput("engine is missing", hint="name one, like queue_storage")
    engine = from_text(Schemas().of(Name), sent["engine"], "engine")
    op = api.overview.prepare(identity_of(request.scope), engine=engine)
    return await act(request, op, "storage.prepare", engine)


async def abort(request: Request) -> Response:
    """Forget the prepared engine."""
    op = api.overview.abort(identity_of(request.scope))
    return await act(request, op, "storage.abort", "")
