"""The entry point: parse the command line, run the command, turn an error into an exit code.

This module imports nothing slow, because ``awa --version`` and shell completion go through it.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from awa_cli.invocation import Common

__all__ = ["main"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        status = _main(argv)
    except KeyboardInterrupt:  # also in the middle of an import
        status = 130
    if argv is None:
        # At exit the garbage collector would walk all loaded modules several times, which takes
        # a sixth of the time of a command.
        gc.freeze()
    return status


def _main(argv: Sequence[str] | None) -> int:
    args = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    if args in (["--version"], ["-V"]):
        from awa_cli.version import version

        # Without building the tree this takes 25 ms instead of 60.
        sys.stdout.write(f"awa {version()}\n")
        return 0
    if shell := os.environ.get("_AWA_COMPLETE"):
        return _complete(shell)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A name that this locale cannot encode must not end in a traceback.
            stream.reconfigure(errors="backslashreplace")
    status = _run(args)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _leave_quietly()
    except OSError as error:
        _leave_quietly()
        return _cannot_write(error)
    return status


def _complete(shell: str) -> int:
    """Answer the script of a shell, which asks what completes the command line."""
    from typer.main import get_command

    from awa_cli.parser.shells import SHELLS
    from awa_cli.parser.tab import answer
    from awa_cli.parser.tree import app

    if shell in SHELLS:
        return answer(shell, get_command(app))
    from awa_cli.errors import ExitCode, complain

    complain(
        f"_AWA_COMPLETE is {shell!r}",
        f"completion scripts set it, to one of: {', '.join(SHELLS)}",
        "install completion anew with awa --install-completion, or unset _AWA_COMPLETE",
    )
    return ExitCode.USAGE


def _open_closed_streams() -> None:
    """Open the streams that the shell closed (``>&-``), which are None in Python."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - open for the whole run


def _cannot_write(error: OSError, *, color: bool = False) -> int:
    from awa_cli.errors import ExitCode, complain

    what = "cannot write the output"
    complain(what, str(error.strerror).lower(), "free some space, or write elsewhere", color=color)
    return ExitCode.FAILED


def _run(args: list[str]) -> int:
    from typer.main import get_command

    from awa_cli.clock import ask_with
    from awa_cli.invocation import Common
    from awa_cli.parser.tree import app
    from awa_cli.terminal.output import ReaderLeft

    state = Common()
    ask_with(lambda: _ask_for_the_time(state))
    try:
        result = get_command(app).main(args, prog_name="awa", standalone_mode=False, obj=state)
    except (BrokenPipeError, ReaderLeft):
        _leave_quietly()
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:  # noqa: BLE001 - every error becomes a message and an exit code here
        return _fail(error, state)
    return int(result) if isinstance(result, int) else 0


def _ask_for_the_time(state: Common) -> None:
    """Connect for a moment, which reads the clock of the database."""
    from awa_cli.database.session import dial, served
    from awa_cli.database.target import find_target

    target = find_target(state)
    with served(target) as url:
        dial(target, url, seconds=state.connect_timeout).close()


def _leave_quietly() -> None:
    """Suppress Python's message at exit when the reader has closed the pipe (``| head``)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(error: Exception, state: Common) -> int:
    import typer
    from typer._click.exceptions import ClickException

    from awa_cli.errors import ExitCode, complain, exit_code_for
    from awa_lib.errors import AwaError

    color = state.color(sys.stderr)
    if isinstance(error, ClickException):
        from awa_cli.parser.usage import complain_of_usage

        return complain_of_usage(error, color=color)
    if isinstance(error, typer.Abort):
        complain("stopped; nothing was changed", color=color)
        interrupted = isinstance(error.__context__, KeyboardInterrupt)
        return ExitCode.INTERRUPTED if interrupted else ExitCode.FAILED
    if state.verbose > 1:
        import traceback

        sys.stderr.write("".join(traceback.format_exception(error)))
    if isinstance(error, AwaError):
        complain(str(error), error.why, error.hint, color=color)
        return exit_code_for(error)
    if isinstance(error, OSError) and error.errno in _FULL:
        _leave_quietly()
        return _cannot_write(error, color=color)
    if isinstance(error, UnicodeEncodeError):
        complain(
            "the command line contains bytes that are not valid text",
            f"in {error.object!a}",
            "write names in UTF-8",
            color=color,
        )
        return ExitCode.USAGE
    complain(
        f"unexpected {type(error).__name__}: {error}",
        "this is a bug in awa",
        "run the command again with -vv and report the output",
        color=color,
    )
    return ExitCode.FAILED
