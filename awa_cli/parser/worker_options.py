"""Options of ``awa worker`` that are options of ``awa_lib.run``, each declared once."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["tuning"]


def _text(words: str) -> Any:
    return Annotated[str | None, typer.Option(metavar="DURATION", help=words)]


def _count(words: str) -> Any:
    return Annotated[int | None, typer.Option(metavar="N", min=1, help=words)]


# Of each option: the option of run(), its unit in seconds, and the text.
_DURATIONS: Final[dict[str, tuple[str, float, str]]] = {
    "poll_interval": (
        "poll_interval_ms",
        0.001,
        "Time between two polls of an idle queue without notifications; 200ms by default.",
    ),
    "quiet_poll_interval": (
        "quiet_poll_interval_ms",
        0.001,
        "The same while notifications arrive; 1s by default.",
    ),
    "cancel_grace": (
        "cancel_grace_ms",
        0.001,
        "Time that an async handler has to end by itself after a cancel; 2s by default.",
    ),
    "callback_hold": (
        "callback_hold_ms",
        0.001,
        "Time for which a wait for a callback keeps its slot; by default for as long as it lasts.",
    ),
    "promote_interval": (
        "promote_interval_ms",
        0.001,
        "Time between two checks for scheduled and retryable jobs; 250ms by default.",
    ),
    "heartbeat_interval": (
        "heartbeat_interval_ms",
        0.001,
        "Time between two heartbeats; 3s by default, or a third of a short --rescue-after.",
    ),
    "heartbeat_rescue_interval": (
        "heartbeat_rescue_interval_ms",
        0.001,
        "Time between two looks for stale heartbeats; 2s by default, or a third of --rescue-after.",
    ),
    "deadline_rescue_interval": (
        "deadline_rescue_interval_ms",
        0.001,
        "Time between two looks for jobs past their deadline; 30s by default.",
    ),
    "callback_rescue_interval": (
        "callback_rescue_interval_ms",
        0.001,
        "Time between two looks for callbacks that timed out; 30s by default.",
    ),
    "leader_election_interval": (
        "leader_election_interval_ms",
        0.001,
        "Time between two tries to lead; by default a third of --rescue-after, at most 3s.",
    ),
    "keep_completed": (
        "completed_retention_hours",
        3600,
        "Time to keep completed jobs; 24h by default.",
    ),
    "keep_failed": ("failed_retention_hours", 3600, "Time to keep failed jobs; 72h by default."),
    "keep_descriptors": (
        "descriptor_retention_days",
        86_400,
        "Time to keep descriptors that no worker publishes; 30d by default, 0 for ever.",
    ),
    "keep_audit": (
        "audit_retention_days",
        86_400,
        "Time to keep the audit log; 365d by default, 90d at least, 0 for ever.",
    ),
    "keep_ends": (
        "ends_retention_days",
        86_400,
        "Time to keep counts of ended attempts and failures; 30d by default, 2d at least.",
    ),
}
_COUNTS: Final = {
    "global_max_workers": "Run at most N jobs of all queues at once, shared by their weights.",
    "claim_batch": "Claim at most N jobs at once; 500 by default.",
    "spans_per_second": "Attempts per second that get a trace span of their own; 500 by default.",
    "cleanup_batch_size": "Rows that a clean-up deletes in one statement; 1000 by default.",
}
_SWITCHES: Final[dict[str, tuple[str, Any]]] = {
    "listen": (
        "listens",
        Annotated[
            bool,
            typer.Option("--listen/--no-listen", help="Listen for notifications, or only poll."),
        ],
    ),
    "lead": (
        "leads",
        Annotated[
            bool,
            typer.Option("--lead/--no-lead", help="May lead the fleet, which maintains it."),
        ],
    ),
}


def tuning(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options to a command, which gets those that were given as ``options`` of run()."""
    own = inspect.signature(command, eval_str=True)
    more: dict[str, tuple[Any, Any]] = {
        name: (_count(text), None) for name, text in _COUNTS.items()
    }
    more |= {name: (kind, True) for name, (_, kind) in _SWITCHES.items()}
    more |= {name: (_text(text), None) for name, (_, _, text) in _DURATIONS.items()}

    def tuned(**given: Any) -> int:
        return command(options=_read({name: given.pop(name) for name in more}), **given)

    kept = [one for one in own.parameters.values() if one.name != "options"]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in more.items()
    ]
    tuned.__signature__ = own.replace(parameters=kept + added)  # type: ignore[attr-defined] # typer reads it
    tuned.__annotations__ = {one.name: one.annotation for one in kept + added}
    tuned.__name__, tuned.__doc__ = command.__name__, command.__doc__
    return tuned


def _read(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of run().  Raises InvalidInput."""
    from awa_cli.filters.values import read_duration

    options: dict[str, Any] = {name: found[name] for name in _COUNTS}
    options |= {key: found[name] for name, (key, _) in _SWITCHES.items()}
    for name, (key, unit, _) in _DURATIONS.items():
        if (text := found[name]) is not None:
            option = "--" + name.replace("_", "-")
            options[key] = read_duration(text, option).total_seconds() / unit
    return {key: value for key, value in options.items() if value is not None}
