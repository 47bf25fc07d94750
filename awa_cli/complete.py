"""Completion of names on the command line; silent when the database is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import typer  # noqa: TC002 - typer reads the annotations

from awa_cli.inputs import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op

__all__ = ["checks", "contexts", "job_ids", "kinds", "queues", "schedules", "states"]

# A person at the Tab key waits no longer.
_SECONDS: Final = 1.0


def states(incomplete: str) -> list[str]:
    """Complete the state of a job."""
    return [state for state in STATES if state.startswith(incomplete)]


def checks(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a check, with what it means that it finds nothing."""
    from awa_lib.doctor import CHECKS

    return [(one.name, one.fine) for one in CHECKS.values() if one.name.startswith(incomplete)]


def contexts(incomplete: str) -> list[str]:
    """Complete the name of a context."""
    try:
        from awa_cli.config import read_config

        return [name for name in read_config().contexts if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a message would land in the line being typed
        return []


def queues(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a queue."""
    from awa_lib.reads.names import queue_names

    return _ask(ctx, lambda: queue_names(incomplete))


def kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a kind."""
    from awa_lib.reads.names import kind_names

    return _ask(ctx, lambda: kind_names(incomplete))


def schedules(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a schedule."""
    from awa_lib.reads.names import schedule_names

    return _ask(ctx, lambda: schedule_names(incomplete))


def job_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a job from the newest ones, with kind and state."""
    from awa_lib.reads.names import recent_ids

    found = _ask(ctx, lambda: recent_ids(incomplete))
    return [(str(job_id), f"{kind} {state}") for job_id, kind, state in found]


def _ask(ctx: typer.Context, make: Callable[[], Op[list[Any]]]) -> list[Any]:
    import signal

    def give_up(*_: object) -> None:
        raise TimeoutError

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, give_up)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        from awa_cli.session import Session, dial
        from awa_cli.target import find_target

        target = find_target(ctx)
        url = _running(target.url) if target.url.startswith("embedded:") else target.url
        with dial(target, url, seconds=2) as conn:
            return Session(conn).run(make())
    except BaseException:  # noqa: BLE001 - a message would land in the line being typed
        return []
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def _running(url: str) -> str:
    """Return the address of an embedded server that is up; nothing is started for a Tab."""
    from awa_lib.embedded import status

    state = status(url)
    if state.url is None:
        raise ConnectionError
    return state.url
