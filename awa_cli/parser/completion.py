"""Shell completion of names.  Prints nothing when the database cannot be reached."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import typer  # noqa: TC002 - typer reads the annotations at run time

from awa_cli.invocation import common
from awa_cli.parser.shells.words import Unfinished
from awa_cli.terminal.formats import Format
from awa_lib.states import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "checks",
    "contexts",
    "dead_ids",
    "events",
    "failure_ids",
    "formats",
    "job_ids",
    "kinds",
    "operation_ids",
    "queues",
    "schedules",
    "sorts",
    "states",
    "task_names",
    "task_states",
    "unique_words",
    "workflow_ids",
    "workflow_names",
    "workflow_signals",
    "workflow_states",
]

_UNIQUE_BY: Final = ("args", "queue", "kind")
# Names of fields and periods are free.
_UNIQUE_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "by": _UNIQUE_BY,
    "states": ("not_started", "not_finished", "any", *STATES),
    "period": (),
    "fields": (),
}
# How long the Tab key may take, loading the driver included.
_WAIT_SECONDS: Final = 0.6
_CONNECT_SECONDS: Final = 2
_NAME_LIMIT: Final = 1_000
_ID_LIMIT: Final = 50
# Names rarely change; of ids only the newest are useful.
_KEEP_NAMES: Final = 86_400
_KEEP_IDS: Final = 60


def states(incomplete: str) -> list[str]:
    """Complete the state of a job."""
    return [state for state in STATES if state.startswith(incomplete)]


def workflow_states(incomplete: str) -> list[str]:
    """Complete the state of a workflow."""
    from awa_lib.reads.workflows import STATES as KNOWN

    return [state for state in KNOWN if state.startswith(incomplete)]


def task_states(incomplete: str) -> list[str]:
    """Complete the state of a task."""
    from awa_lib.reads.workflow_tasks import TASK_STATES

    return [state for state in TASK_STATES if state.startswith(incomplete)]


def unique_words(incomplete: str) -> list[str]:
    """Complete the last of the words of ``--unique``, which are joined by commas."""
    before, comma, word = incomplete.rpartition(",")
    name, equals, _ = word.partition("=")
    if not equals:
        found = [*_UNIQUE_BY, *(Unfinished(f"{one}=") for one in _UNIQUE_WORDS)]
    else:
        found = [f"{name}={value}" for value in _UNIQUE_WORDS.get(name, ())]
    lead = before + comma
    return [type(one)(lead + one) for one in found if one.startswith(word)]


def checks(incomplete: str) -> list[tuple[str, str]]:
    """Complete the name of a check, with the meaning of a check that passes."""
    from awa_lib.doctor import CHECKS

    return [(one.name, one.fine) for one in CHECKS.values() if one.name.startswith(incomplete)]


def events(incomplete: str) -> list[str]:
    """Complete the name of a job event."""
    return [event for event in ("created", *STATES) if event.startswith(incomplete)]


def formats(incomplete: str) -> list[str]:
    """Complete an output format."""
    names = [Unfinished(f"{one}=") if one is Format.template else str(one) for one in Format]
    return [name for name in names if name.startswith(incomplete)]


def sorts(incomplete: str) -> list[str]:
    """Complete the field that jobs are sorted by."""
    from awa_lib.reads.jobs import SORTS

    return [field for field in SORTS if field.startswith(incomplete)]


def contexts(incomplete: str) -> list[str]:
    """Complete the name of a context."""
    try:
        from awa_cli.database.config import read_config

        return [name for name in read_config().contexts if name.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a message would end up in the command line
        return []


def queues(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a queue."""
    return _names(ctx, "queue_names", incomplete)


def kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a kind."""
    return _names(ctx, "kind_names", incomplete)


def schedules(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a schedule."""
    return _names(ctx, "schedule_names", incomplete)


def job_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a job from the newest ones, with kind and state."""
    return _ids(ctx, "recent_ids", incomplete)


def dead_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a dead letter from the newest ones, with kind and reason."""
    return _ids(ctx, "dead_ids", incomplete)


def failure_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a failure from the latest ones, with kind and message."""
    return _ids(ctx, "failure_ids", incomplete)


def operation_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a bulk operation, with what it does and its state."""
    return _ids(ctx, "operation_ids", incomplete)


def workflow_ids(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Complete the id of a workflow from the newest ones, with name and state."""
    return _ids(ctx, "workflow_ids", incomplete)


def workflow_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a workflow."""
    return _names(ctx, "workflow_names", incomplete)


def task_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a task or a group of the workflow in the line."""
    return _ask(ctx, "task_names", incomplete, _NAME_LIMIT, keep=_KEEP_IDS, of=_workflow(ctx))


def workflow_signals(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete the name of a signal of the workflow in the line."""
    return _ask(ctx, "signal_names", incomplete, _NAME_LIMIT, keep=_KEEP_IDS, of=_workflow(ctx))


def _workflow(ctx: typer.Context) -> list[int]:
    # Before the value of an option the arguments are not parsed.
    given = map(str, [ctx.params.get("workflow_id"), *ctx.args])
    return [next((int(one) for one in given if one.isdecimal()), 0)]


def _names(ctx: typer.Context, what: str, incomplete: str) -> list[str]:
    """Ask for all names first, because one answer then serves every prefix."""
    for prefix in ("", incomplete):
        found = _ask(ctx, what, prefix, _NAME_LIMIT, keep=_KEEP_NAMES)
        if len(found) < _NAME_LIMIT:
            break
    return [name for name in found if name.startswith(incomplete)]


def _ids(ctx: typer.Context, what: str, incomplete: str) -> list[tuple[str, str]]:
    found = _ask(ctx, what, incomplete, _ID_LIMIT, keep=_KEEP_IDS)
    return [(str(number), f"{name} {state}") for number, name, state in found]


def _ask(
    ctx: typer.Context, what: str, prefix: str, limit: int, *, keep: int, of: Sequence[int] = ()
) -> list[Any]:
    """Return the result of a read of ``awa_lib.reads.names``, perhaps from the cache."""
    from awa_cli.parser.completion_cache import recall

    options = common(ctx)
    question = [what, *map(str, of), prefix, options.database_url or "", options.context or ""]
    with suppress(Exception):  # a message would end up in the command line
        return recall(
            question,
            lambda: _answer(ctx, what, (*of, prefix, limit)),
            keep=keep,
            wait=_WAIT_SECONDS,
        )
    return []


def _answer(ctx: typer.Context, what: str, asked: tuple[Any, ...]) -> list[Any]:
    from awa_cli.database.session import Session, dial
    from awa_cli.database.target import find_target
    from awa_lib.reads import names

    target = find_target(common(ctx))
    url = _running(target.url) if target.url.startswith("embedded:") else target.url
    with dial(target, url, seconds=_CONNECT_SECONDS) as conn:
        found: list[Any] = Session(conn).run(getattr(names, what)(*asked))
        return found


def _running(url: str) -> str:
    """Return the address of a running embedded server.  The Tab key does not start a server."""
    from awa_lib.embedded import status

    state = status(url)
    if state.url is None:
        raise ConnectionError
    return state.url
