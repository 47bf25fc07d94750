"""Completion of names on the command line; silent when the database is away."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import typer  # noqa: TC002 - typer reads the annotations

from awa_cli.inputs import STATES
from awa_cli.shapes import Format

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_lib._sql import Op

__all__ = [
    "checks", "contexts", "dead_ids", "events", "formats", "job_ids", "kinds", "operation_ids",
    "queues", "schedules", "sorts", "states",
]  # fmt: skip

# A person at the Tab key waits no longer.
_SECONDS: Final = 0.5


def states(incomplete: str) -> list[str]:
    """Complete the state of a job."""
    return [state for state in STATES if state.startswith(incomplete)]


def checks(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a check, with what it means that it finds nothing."""
    from awa_lib.doctor import CHECKS

    return [(one.name, one.fine) for one in CHECKS.values() if one.name.startswith(incomplete)]


def events(incomplete: str) -> list[str]:
    """Complete the name of what may happen to a job."""
    return [event for event in ("created", *STATES) if event.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """Complete a format of rows."""
    names = [f"{one}=" if one is Format.template else str(one) for one in Format]
    return [name for name in names if name.startswith(incomplete)]


def sorts(incomplete: str) -> list[str]:
    """Complete what jobs are sorted by."""
    from awa_lib.reads.jobs import SORTS

    return [field for field in SORTS if field.startswith(incomplete)]


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


def dead_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a dead letter from the newest ones, with kind and reason."""
    from awa_lib.reads import names

    found = _ask(ctx, lambda: names.dead_ids(incomplete))
    return [(str(job_id), f"{kind} {reason}") for job_id, kind, reason in found]


def operation_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a bulk operation, with what it does and its state."""
    from awa_lib.reads import names

    found = _ask(ctx, lambda: names.operation_ids(incomplete))
    return [(operation_id, f"{name} {state}") for operation_id, name, state in found]


def _ask(ctx: typer.Context, make: Callable[[], Op[list[Any]]]) -> list[Any]:
    """Ask the database in a thread: a lookup of a host name heeds no signal and no timeout."""
    import threading

    found: list[Any] = []

    def ask() -> None:
        with suppress(Exception):  # a message would land in the line being typed
            found.extend(_answer(ctx, make))

    with suppress(Exception):
        import psycopg  # noqa: F401 - before the clock runs: it takes about 60 ms
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return list(found)


def _answer(ctx: typer.Context, make: Callable[[], Op[list[Any]]]) -> list[Any]:
    from awa_cli.session import Session, dial
    from awa_cli.target import find_target

    target = find_target(ctx)
    url = _running(target.url) if target.url.startswith("embedded:") else target.url
    with dial(target, url, seconds=1) as conn:
        return Session(conn).run(make())


def _running(url: str) -> str:
    """Return the address of an embedded server that is up; nothing is started for a Tab."""
    from awa_lib.embedded import status

    state = status(url)
    if state.url is None:
        raise ConnectionError
    return state.url
