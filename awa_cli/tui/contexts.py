"""Switch to another database of the config file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.database.config import read_config
from awa_cli.tui.widgets.dialogs import Pick
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from awa_cli.database.target import Target
    from awa_cli.tui.host import Host

__all__ = ["choose_context"]


def choose_context(
    app: Host,
    find_context: Callable[[str], tuple[Target, str | None]] | None,
    open_database: Callable[[Target, str | None], Awaitable[None]],
) -> None:
    """Ask for a context, find its target and URL, and open its database."""
    try:
        contexts = read_config().contexts
    except AwaError as error:
        app.show_error(error)
        return
    if not contexts or find_context is None:
        app.notify("No contexts yet.  Add one: awa context add NAME URL", markup=False)
        return

    async def chosen(name: str | None) -> None:
        if name is None:
            return
        try:
            target, url = find_context(name)
        except AwaError as error:
            app.show_error(error)
            return
        await open_database(target, url)

    current = app.source.target.context
    options = [
        (name, f"{name}{'  protected' if context.protected else ''}")
        for name, context in contexts.items()
    ]
    app.push_screen(
        Pick("Database", options, current.name if current is not None else None), chosen
    )
