"""Go over to another database of the config file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from awa_cli.database.config import read_config
from awa_cli.tui.widgets.dialogs import Pick
from awa_lib.errors import AwaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from awa_cli.database.target import Target
    from awa_cli.tui.app import Monitor

__all__ = ["choose_context"]


def choose_context(app: Monitor, others: Callable[[str], tuple[Target, str | None]] | None) -> None:
    """Ask for a context and look at its database; ``others`` makes a target of a name."""
    try:
        contexts = read_config().contexts
    except AwaError as error:
        app.complain(error)
        return
    if not contexts or others is None:
        app.notify("No contexts yet: awa context add NAME URL", markup=False)
        return

    async def chosen(name: str | None) -> None:
        if name is None:
            return
        try:
            target, url = others(name)
        except AwaError as error:
            app.complain(error)
            return
        await app.look_at(target, url)

    here = app.source.target.context
    options = [
        (name, f"{name}{'  protected' if one.protected else ''}") for name, one in contexts.items()
    ]
    app.push_screen(Pick("Database", options, here.name if here is not None else None), chosen)
