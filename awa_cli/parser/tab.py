"""The Tab key: find what may complete the word that is being typed, and say it to the shell.

A script of ``awa_cli.parser.shells`` calls the program with ``_AWA_COMPLETE`` and the line.  The
reply is a line that says what follows, and a line for each candidate.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from typer._click.shell_completion import _is_incomplete_argument, _resolve_context
from typer.core import TyperArgument, TyperOption

from awa_cli.invocation import Common
from awa_cli.parser.shells import shell_module
from awa_cli.parser.shells.words import Candidate, Unfinished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typer._click.core import Command, Context, Parameter
    from typer._click.shell_completion import CompletionItem

    from awa_cli.parser.shells.words import Line

__all__ = ["answer"]


def answer(name: str, root: Command) -> int:
    """Print the completions of the line that is in the environment; never an error."""
    shell, reply = shell_module(name), ["=none"]
    with suppress(Exception):  # a message would end up in the command line
        line = shell.read(os.environ)
        if line.word.target:
            reply = ["=files"]
        else:
            found, files = _find(root, line)
            written = shell.write(line, found, os.environ)
            if written:
                ends = "=open" if len(found) == 1 and found[0].unfinished else "=space"
                reply = [ends, *written]
            elif files:
                reply = ["=files"]
    # The bytes of a name are those that it has as an argument, whatever the encoding of stdout is.
    sys.stdout.buffer.write(b"".join(os.fsencode(one) + b"\n" for one in reply))
    return 0


def _find(root: Command, line: Line) -> tuple[list[Candidate], bool]:
    """Return the candidates, and whether the word may be the name of a file."""
    typed = line.word.value
    ctx = _resolve_context(root, {"obj": Common()}, "awa", line.args)
    if _is_mistaken(ctx, line.args):
        return [], False
    ended = _options_ended(ctx, line.args)
    wanted, lead = _wanted(ctx, line, ended=ended)
    if wanted is None:
        return [], False
    found, files = [], isinstance(wanted, TyperOption | TyperArgument)
    for item in wanted.shell_complete(ctx, typed[len(lead) :]):
        if item.type != "plain":
            return [], True
        if isinstance(wanted, TyperArgument) and not ended and item.value.startswith("-"):
            continue  # it would be read as an option
        found.append(_candidate(item, lead))
    own = getattr(wanted, "_custom_shell_complete", None) is not None
    return [one for one in found if one.text.startswith(typed)], files and not own and not found


def _is_mistaken(ctx: Context, args: Sequence[str]) -> bool:
    """Return whether a command or an option does not exist: what follows is not known then."""
    if hasattr(ctx.command, "resolve_command") and (ctx._protected_args or ctx.args):  # noqa: SLF001 - as _resolve_context reads them
        return True
    known: set[str] = set()
    above: Context | None = ctx
    while above is not None:
        for param in above.command.get_params(above):
            known.update(param.opts, param.secondary_opts)
        above = above.parent
    until = args.index("--") if "--" in args else len(args)
    return any(
        word.startswith("--") and word.partition("=")[0] not in known for word in args[:until]
    )


def _candidate(item: CompletionItem, lead: str) -> Candidate:
    return Candidate(
        text=lead + item.value,
        about=item.help or "",
        lead=lead,
        unfinished=isinstance(item.value, Unfinished),
    )


def _wanted(ctx: Context, line: Line, *, ended: bool) -> tuple[Command | Parameter | None, str]:
    """Return what the word is for, and the part of the word before the value."""
    typed = line.word.value
    if not ended:
        if line.args and (option := _option(ctx, line.args[-1])):
            return option, ""
        name, equals, _ = typed.partition("=")
        if name.startswith("--") and equals:
            return _option(ctx, name), name + equals
        if typed.startswith("-"):
            return ctx.command, ""
    for param in ctx.command.get_params(ctx):
        if _is_incomplete_argument(ctx, param):
            return param, ""
    return ctx.command, ""


def _options(ctx: Context) -> Iterator[TyperOption]:
    for param in ctx.command.get_params(ctx):
        if isinstance(param, TyperOption) and not param.is_flag and not param.count:
            yield param


def _option(ctx: Context, name: str) -> TyperOption | None:
    """Return the option with this name that takes a value."""
    return next((one for one in _options(ctx) if name in one.opts), None)


def _options_ended(ctx: Context, args: Sequence[str]) -> bool:
    """Return whether there is a ``--`` that is not the value of an option."""
    before: Any = ""
    for one in args:
        if one == "--" and not _option(ctx, before):
            return True
        before = one
    return False
