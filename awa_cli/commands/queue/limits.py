"""Limits and settings of queues, which running workers apply."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from awa_cli.commands._session import open_session
from awa_cli.commands.queue._app import Name, app
from awa_cli.parser.options import Report, ReportFormat
from awa_cli.terminal.output import result, show_document

if TYPE_CHECKING:
    from awa_lib.policies import QueuePolicy

MaxRunning = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="Run at most N jobs at once, in all workers."),
]
MaxRunningPerKey = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Run at most N jobs with the same concurrency key at once."
    ),
]
RateLimit = Annotated[
    str | None,
    typer.Option(
        metavar="RATE",
        help="Rate at which each process may start jobs: 50/s, 600/m, or 50/s:100 with a burst.",
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(metavar="DURATION", help="Maximum run time of an attempt; 0 for no maximum."),
]
PollInterval = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Time between two polls of an idle worker.")
]
ClaimBatch = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Claim at most N jobs at once.")
]
KeepCompleted = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Time to keep completed jobs.")
]
KeepFailed = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Time to keep failed jobs.")
]
# The options of set, and the setting of each.
_SETTINGS: Final = {
    "max-running": "max_running",
    "max-running-per-key": "max_running_per_key",
    "rate-limit": "rate_limit",
    "deadline": "deadline_seconds",
    "poll-interval": "poll_interval_ms",
    "claim-batch": "claim_batch",
    "keep-completed": "completed_retention_hours",
    "keep-failed": "failed_retention_hours",
}


def _settings(incomplete: str) -> list[str]:
    """Complete the name of a setting."""
    return [name for name in _SETTINGS if name.startswith(incomplete)]


@app.command(
    "set",
    epilog="""
    awa queue set email --max-running 20 --rate-limit 50/s
    awa queue set import --max-running-per-key 1 --deadline 15m
    awa queue set email --keep-completed 6h --keep-failed 30d
    """,
)
def set_(
    ctx: typer.Context,
    queue: Name,
    *,
    max_running: MaxRunning = None,
    max_running_per_key: MaxRunningPerKey = None,
    rate_limit: RateLimit = None,
    deadline: Deadline = None,
    poll_interval: PollInterval = None,
    claim_batch: ClaimBatch = None,
    keep_completed: KeepCompleted = None,
    keep_failed: KeepFailed = None,
    output: Report = ReportFormat.table,
) -> None:
    """Set limits and settings of a queue.

    Running workers apply them within seconds.  They override the settings that the workers were
    started with.
    """
    from awa_cli.filters.values import read_rate
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.policies import set_queue_policy

    changes: dict[str, Any] = {
        "max_running": max_running,
        "max_running_per_key": max_running_per_key,
        "claim_batch": claim_batch,
        "rate_limit": None if rate_limit is None else read_rate(rate_limit, "--rate-limit"),
        "deadline_seconds": _seconds(deadline, "--deadline"),
        "completed_retention_hours": _seconds(keep_completed, "--keep-completed", 3600),
        "failed_retention_hours": _seconds(keep_failed, "--keep-failed", 3600),
    }
    if (millis := _seconds(poll_interval, "--poll-interval", 0.001)) is not None:
        changes["poll_interval_ms"] = round(millis)
    changes = {name: value for name, value in changes.items() if value is not None}
    if not changes:
        raise InvalidInput("no setting was given", hint="see awa queue set --help")
    with open_session(ctx, changing=True) as db:
        op = set_queue_policy(queue, **changes)
        _show(db.change("queue.set", queue, op, changes=changes), output)


@app.command(
    epilog="""
    awa queue unset email max-running
    awa queue unset email --all
    """
)
def unset(
    ctx: typer.Context,
    queue: Name,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SETTING...",
            help="Setting: an option of awa queue set.",
            autocompletion=_settings,
        ),
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Remove all settings of the queue.")
    ] = False,
    output: Report = ReportFormat.table,
) -> None:
    """Remove settings of a queue.

    Workers return to the settings they were started with.
    """
    from awa_lib.errors import InvalidInput
    from awa_lib.ops.policies import set_queue_policy

    if bool(settings) == everything:
        raise InvalidInput(
            "--all cannot be used with settings" if everything else "no setting was given",
            why=f"settings are {', '.join(_SETTINGS)}",
            hint="name settings, or use --all",
        )
    changes: Any = {_setting(text): None for text in settings or _SETTINGS}
    op = set_queue_policy(queue, **changes)
    with open_session(ctx, changing=True) as db:
        _show(db.change("queue.set", queue, op, changes=changes), output)


def _setting(text: str) -> str:
    """Find a setting by its option or by its name in JSON.  Raises InvalidInput."""
    from awa_lib.errors import InvalidInput
    from awa_lib.validation import did_you_mean

    option = text.removeprefix("--").replace("_", "-")
    name = _SETTINGS.get(option, option.replace("-", "_"))
    if name not in _SETTINGS.values():
        raise InvalidInput(
            f"unknown setting: {text}",
            why=f"settings are {', '.join(_SETTINGS)}",
            hint=did_you_mean(option, _SETTINGS) or "see awa queue unset --help",
        )
    return name


def _show(policy: QueuePolicy, output: ReportFormat) -> None:
    if output is ReportFormat.json:
        show_document(policy)
        return
    from awa_cli.views.facts import policy_facts

    facts = policy_facts(policy)
    result(f"Queue '{policy.queue}': " + (", ".join(facts) if facts else "no settings"))


def _seconds(text: str | None, option: str, unit: float = 1) -> float | None:
    from awa_cli.filters.values import read_duration

    return None if text is None else read_duration(text, option).total_seconds() / unit
