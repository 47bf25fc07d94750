"""Options of ``awa job enqueue`` that say when a job may start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_debounce", "start"]


def start(run_at: str | None, delay: str | None) -> dict[str, Any]:
    """Return the options of an insert that say when the job may start."""
    from awa_cli.filters.values import read_duration, read_moment
    from awa_lib.errors import InvalidInput

    if run_at is not None and delay is not None:
        raise InvalidInput("--run-at and --delay cannot be used together", hint="use one of them")
    if delay is not None:
        return {"delay": read_duration(delay, "--delay")}
    return {} if run_at is None else {"run_at": read_moment(run_at, "--run-at")}


def read_debounce(
    debounce: str | None, max_wait: str | None, others: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return the options of an insert that waits for the last of several jobs, or none."""
    from awa_cli.filters.values import read_duration
    from awa_lib.errors import InvalidInput

    if debounce is None:
        if max_wait is not None:
            raise InvalidInput(
                "--max-wait needs --debounce", hint="write it like --debounce 5s --max-wait 1m"
            )
        return {}
    for name, value in others.items():
        if value is not None:
            raise InvalidInput(
                f"--debounce and {name} cannot be used together", hint="use one of them"
            )
    waits: dict[str, Any] = {"debounce": read_duration(debounce, "--debounce")}
    if max_wait is not None:
        waits["max_wait"] = read_duration(max_wait, "--max-wait")
    return waits
