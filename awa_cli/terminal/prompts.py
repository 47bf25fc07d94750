"""Questions to the person at the terminal, on stderr: stdout may be a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

import typer

from awa_cli.invocation import common
from awa_cli.views.actions import ACTIONS, Danger

if TYPE_CHECKING:
    from awa_cli.database.target import Target

__all__ = ["agree", "ask", "confirm", "permit"]


def confirm(ctx: typer.Context, action_id: str, target: str) -> None:
    """Ask before a destructive change at a terminal.  Raises typer.Abort on no.

    Without a terminal nothing is asked, because scripts written for awa 0.5 expect that; only an
    action that may lose work raises InvalidInput there.
    """
    action = ACTIONS[action_id]
    if action.danger < Danger.DESTRUCTIVE or common(ctx).yes:
        return
    question = f"{action.question.format(target=target)} {action.note}".rstrip()
    if sys.stdin.isatty():
        agree(question)
    elif action.danger is Danger.LOSS:
        _refuse(f"confirmation is required: {question}")


def ask(ctx: typer.Context, change: str) -> None:
    """Ask at a terminal whether to make a change; ``change`` is like ``retry 3 jobs``.

    Raises InvalidInput without a terminal, typer.Abort on no.
    """
    if common(ctx).yes:
        return
    if not sys.stdin.isatty():
        _refuse(
            f"confirmation is required to {change}",
            f"see what would change: {ctx.command_path} … --dry-run; then add --yes",
        )
    agree(f"{change[:1].upper()}{change[1:]}?")


def permit(ctx: typer.Context, target: Target) -> None:
    """Ask for the name of a protected context before a change.

    Raises InvalidInput without a terminal, typer.Abort for another answer.
    """
    if target.context is None or not target.context.protected or common(ctx).yes:
        return
    name = target.context.name
    if not sys.stdin.isatty():
        _refuse(f"confirmation is required: the context {name!r} is protected")
    if _typed(f"{name} is protected; type its name to go on") != name:
        raise typer.Abort


def agree(question: str) -> None:
    """Return on y or yes.  Raises typer.Abort on no, which is the default."""
    while True:
        answer = _typed(f"{question} [y/N]").lower()
        if answer in {"y", "yes"}:
            return
        if answer in {"", "n", "no"}:
            raise typer.Abort


def _typed(question: str) -> str:
    """Return the answer.  Raises typer.Abort at Ctrl-C and at the end of input."""
    try:
        sys.stdout.flush()
        sys.stderr.write(f"{question}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        raise typer.Abort from None
    if not line:
        sys.stderr.write("\n")
        raise typer.Abort
    return line.strip()


def _refuse(what: str, hint: str = "if you mean it, add --yes") -> NoReturn:
    from awa_lib.errors import InvalidInput

    raise InvalidInput(what, why="stdin is not a terminal", hint=hint)
