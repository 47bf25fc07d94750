"""Ask before a change of many things."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from awa_cli.parser.options import common

if TYPE_CHECKING:
    import typer

__all__ = ["ask"]


def ask(ctx: typer.Context, deed: str) -> None:
    """Ask at a terminal whether to do it; ``deed`` is like ``retry 3 jobs``.

    Raises InvalidInput where nobody can answer, typer.Abort on no.
    """
    if common(ctx).yes:
        return
    if not sys.stdin.isatty():
        from awa_lib.errors import InvalidInput

        raise InvalidInput(
            f"nobody can be asked whether to {deed}",
            why="stdin is not a terminal",
            hint=f"look first: {ctx.command_path} … --dry-run; then add --yes",
        )
    from awa_cli.terminal.prompts import agree

    agree(f"{deed[:1].upper()}{deed[1:]}?")
