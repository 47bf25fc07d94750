"""Completion in shells: what is typed is read, and names are written, by the rules of each shell.

Names come from the database, which others write.  The script of a shell passes on the text before
the cursor and inserts what it is given.  It quotes nothing: a module per shell does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from awa_cli.parser.shells.words import Shell

__all__ = ["SHELLS", "shell_module"]

SHELLS: Final = ("bash", "zsh", "fish", "powershell")


def shell_module(name: str) -> Shell:
    """Return the module of a shell, alone: the Tab key waits for it."""
    return cast("Shell", import_module(f"{__name__}.{name}"))
