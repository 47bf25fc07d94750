"""Ask for confirmation before a bulk change."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from awa_cli.parser.options import common

if TYPE_CHECKING:
    import typer

__all__ = ["ask"]


def ask(ctx: typer.Context, change: str) -> None:
    """Ask at a terminal whether to make a change, such as ``retry 3 jobs``.

    Raises InvalidInput without a terminal, and typer.Abort if the answer is no.
    """
    if common(ctx).yes:
        return
    if not sys.stdin.isatty():
        from awa_lib.errors import InvalidInput

        raise InvalidInput(
            f"cannot ask whether to {change}",
            why="stdin is not a terminal",
            hint=f"check first: {ctx.command_path} … --dry-run; then add --yes",
        )
    from awa_cli.terminal.prompts import agree

    agree(f"{change[:1].upper()}{change[1:]}?")
