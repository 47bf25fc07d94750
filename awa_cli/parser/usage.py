"""Error messages for a command line that cannot be parsed."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from awa_cli.errors import ExitCode, complain

__all__ = ["complain_of_usage"]

# The parser's wording, and a plainer one.
_PLAINER: Final = (
    (r" is not a valid int(eger)?( range)?$", " is not a whole number"),
    (r" is not a valid float( range)?$", " is not a number"),
    (r" is not in the range (\S+)<=x<=(\S+)$", r" is not in the range from \1 to \2"),
    (r" is not in the range x>=(\S+)$", r" is not in the range from \1 on"),
    (r" is not in the range x<=(\S+)$", r" is not in the range up to \1"),
)


def complain_of_usage(error: Any, *, color: bool) -> int:
    """Print what is wrong with a command line and the nearest valid one; return the exit status."""
    kind = type(error).__name__
    if kind == "NoArgsIsHelpError":
        sys.stderr.write(error.format_message() + "\n")
        return ExitCode.USAGE
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "awa"
    what, near = _plain(error), None
    if kind == "UnknownCommand":
        what, near = str(error.message), ", ".join(error.nearest)
    elif kind == "NoSuchOption":
        what = f"{path} has no option {error.option_name!r}"
        near = _as_argument(error.option_name, ctx) or ", ".join(error.possibilities or ())
    elif ctx and (extra := re.match(r"got unexpected extra arguments? \((.*)\)$", what)):
        if not any(param.param_type_name == "argument" for param in ctx.command.params):
            what, near = f"{path} has no subcommand {extra[1]!r}", path
        else:
            what = f"{path} takes no further argument {extra[1]!r}"
    else:
        near = _nearest_choice(error)
    do = f"did you mean: {near}" if near else f"see {path} --help"
    complain(what, None, do, color=color)
    return ExitCode.USAGE


def _as_argument(option: str, ctx: Any) -> str | None:
    """Return the command that takes as an argument what was given as an option of its noun."""
    group = ctx.parent.command if ctx and ctx.parent else None
    if group is None or option != f"--{group.name}":
        return None
    for command, path in (
        (ctx.command, ctx.command_path),
        (group.get_command(ctx.parent, "show"), f"{ctx.parent.command_path} show"),
    ):
        for param in getattr(command, "params", ()):
            if param.param_type_name == "argument":
                return f"{path} {param.metavar or param.name.upper()}"
    return None


def _plain(error: Any) -> str:
    message = str(error.format_message()).removesuffix(".")
    message = (message[:1].lower() + message[1:]).replace("argument(s)", "arguments")
    for pattern, plainer in _PLAINER:
        message = re.sub(pattern, plainer, message)
    return message


def _nearest_choice(error: Any) -> str | None:
    """Return the option with the nearest of its choices, for a value that is not a choice."""
    from awa_lib.validation import nearest

    choices = getattr(getattr(getattr(error, "param", None), "type", None), "choices", None)
    found = re.match(r"'([^']*)' is not one of", str(error.message))
    if not choices or found is None:
        return None
    close = nearest(found[1].lower(), map(str, choices), cutoff=0.5)
    return None if close is None else f"{error.param.opts[-1]} {close}"
