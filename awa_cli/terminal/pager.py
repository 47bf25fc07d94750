"""Show long output through a pager."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from awa_cli.invocation import Common

__all__ = ["page"]


def page(text: str, options: Common) -> bool:
    """Show a text longer than the terminal through the pager; return False if it was not shown.

    The pager is AWA_PAGER, else PAGER, else less or more.  No pager is used with --no-pager, in a
    pipe, or if the variable is empty or ``cat``.
    """
    if options.no_pager or not sys.stdout.isatty():
        return False
    if text.count("\n") < shutil.get_terminal_size().lines:
        return False
    command = _command()
    if command in ([], ["cat"]):
        return False
    # Takes 10 ms, so only a long page imports it.
    import subprocess

    from awa_cli.terminal.colors import without_links

    sys.stdout.flush()
    # Colours pass through, and the text stays on the screen.
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    try:
        running = subprocess.Popen(  # noqa: S603 - the user's own pager
            command,
            stdin=subprocess.PIPE,
            env=environment,
            text=True,
            encoding=sys.stdout.encoding,
            errors="backslashreplace",
        )
    except OSError:
        return False
    while True:
        try:
            running.communicate(without_links(text))
        except KeyboardInterrupt:
            continue  # the pager handles Ctrl-C
        return True


def _command() -> list[str]:
    import shlex

    for name in ("AWA_PAGER", "PAGER"):
        if (given := os.environ.get(name)) is not None:
            try:
                return shlex.split(given)
            except ValueError:
                return []
    return next(([name] for name in ("less", "more") if shutil.which(name)), [])
