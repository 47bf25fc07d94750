"""Ask the person at the terminal, on stderr: stdout may be a pipe."""

from __future__ import annotations

import sys

import typer

__all__ = ["agree", "typed"]


def typed(question: str) -> str:
    """Return what is answered.  Raises typer.Abort at Ctrl-C and at the end of input."""
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


def agree(question: str) -> None:
    """Go on with y or yes.  Raises typer.Abort for no, which is what nothing means."""
    while True:
        answer = typed(f"{question} [y/N]").lower()
        if answer in {"y", "yes"}:
            return
        if answer in {"", "n", "no"}:
            raise typer.Abort
