"""The dialog for the settings of a queue, with the syntax of ``awa queue set``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from awa_cli.filters.values import read_duration, read_rate
from awa_cli.web import api
from awa_cli.web.pages.render import act, at, fields, read, render
from awa_cli.web.scope import identity_of
from awa_lib.errors import InvalidInput
from awa_lib.reads.policies import get_queue_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_cli.access import Identity
    from awa_lib._sql import Op
    from awa_lib.policies import QueuePolicy

__all__ = ["ask", "change"]

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_DEAD_LETTERS: Final = "dead_letters"


@dataclass(frozen=True, slots=True)
class _Setting:
    """A field of the dialog.

    ``write`` returns its text for a policy, ``read`` the arguments of the endpoint for a text.
    """

    name: str
    label: str
    example: str
    write: Callable[[QueuePolicy], str]
    read: Callable[[str], dict[str, Any]]
    none: dict[str, Any]
    """The arguments of the endpoint that reset the setting."""


def _count(name: str, label: str) -> _Setting:
    def read_count(text: str) -> dict[str, Any]:
        try:
            return {name: int(text)}
        except ValueError:
            raise InvalidInput(
                f"{label!r} is not a number: {text!r}", hint="use a number, like 20"
            ) from None

    def write(policy: QueuePolicy) -> str:
        value = getattr(policy, name)
        return "" if value is None else str(value)

    return _Setting(name, label, "20", write, read_count, {name: None})


def _span(name: str, label: str, example: str, unit: float) -> _Setting:
    """Return the field of a duration; ``unit`` is the unit of the setting, in seconds."""

    def read_span(text: str) -> dict[str, Any]:
        value = read_duration(text, label).total_seconds() / unit
        return {name: round(value) if name.endswith("_ms") else value}

    def write(policy: QueuePolicy) -> str:
        value = getattr(policy, name)
        return "" if value is None else _duration(value * unit)

    return _Setting(name, label, example, write, read_span, {name: None})


def _duration(seconds: float) -> str:
    """Return a duration in the syntax of durations, without loss."""
    for size, unit in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:g}{unit}"
    return f"{seconds * 1000:g}ms" if 0 < seconds < 1 else f"{seconds:.10g}s"


def _rate(label: str) -> _Setting:
    def read_limit(text: str) -> dict[str, Any]:
        rate, burst = read_rate(text, label)
        return {"max_rate": rate, "burst": burst}

    def write(policy: QueuePolicy) -> str:
        if policy.max_rate is None:
            return ""
        return f"{policy.max_rate:.10g}/s" + (f":{policy.burst}" if policy.burst else "")

    return _Setting("rate_limit", label, "50/s or 50/s:100", write, read_limit, {"max_rate": None})


_SETTINGS: Final = (
    _count("max_running", "Running jobs, at most"),
    _count("max_running_per_key", "Running jobs of a concurrency key, at most"),
    _rate("Starts per worker process, at most"),
    _span("deadline_seconds", "Deadline of an attempt", "15m, 0: none", 1),
    _span("poll_interval_ms", "Poll interval of an idle worker", "200ms", 0.001),
    _count("claim_batch", "Jobs per claim, at most"),
    _span("completed_retention_hours", "Retention of completed jobs", "24h", 3600),
    _span("failed_retention_hours", "Retention of failed jobs", "30d", 3600),
)


async def ask(request: Request) -> Response:
    """Show the dialog with the present settings."""
    queue = request.path_params["queue"]
    policy = await read(request, get_queue_policy(queue))
    return await render(
        request,
        "parts/settings.html",
        queue=queue,
        url=at("queues", queue, "settings"),
        settings=[(one, one.write(policy)) for one in _SETTINGS],
        dead_letters=policy.dead_letters,
    )


async def change(request: Request) -> Response:
    """Set the fields that were changed, and reset those that were emptied.

    Each field X has a hidden field was.X with its previous text.
    """
    await request.app.state.awa.require_operate(identity_of(request.scope))
    queue = request.path_params["queue"]
    given = {name: values[0] for name, values in (await fields(request)).items()}
    op = _changed(identity_of(request.scope), queue, given)
    return await act(request, op, "queue.set", queue)


def _changed(who: Identity, queue: str, given: Mapping[str, str]) -> Op[None]:
    """Return the op that makes all changes.  Raises InvalidInput."""
    changes: dict[str, Any] = {}
    for one in _SETTINGS:
        text = given.get(one.name, "").strip()
        if text != given.get(f"was.{one.name}", ""):
            changes |= one.read(text) if text else one.none
    dead_letters = bool(given.get(_DEAD_LETTERS))
    toggled = dead_letters != bool(given.get(f"was.{_DEAD_LETTERS}"))
    if not changes and not toggled:
        raise InvalidInput("nothing was changed", hint="fill in a field, or empty it")
    return _all(who, queue, changes, dead_letters if toggled else None)


def _all(who: Identity, queue: str, changes: dict[str, Any], dead_letters: bool | None) -> Op[None]:
    if changes:
        yield from api.queues.set_settings(who, queue, **changes)
    if dead_letters is not None:
        yield from api.queues.keep_dead_letters(who, queue, enabled=dead_letters)
