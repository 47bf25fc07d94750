"""The tree of commands.  The module of a command is imported when the command is first used."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import typer
from typer._click.exceptions import UsageError
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command_from_info, get_command_name

from awa_cli.invocation import common
from awa_cli.parser.help import help_page, render
from awa_cli.parser.options import common_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer._click.core import Command, Context
    from typer.models import CommandInfo

__all__ = ["AwaCommand", "AwaGroup", "Room", "UnknownCommand", "app"]

_JOBS: Final = "Jobs and queues"
_RUN: Final = "Workers and servers"
_DATABASE: Final = "Database"


@dataclass(frozen=True, slots=True)
class Room:
    """The module of a top-level command; ``panel`` is its heading in the help."""

    module: str
    panel: str


# In the order of the help.  A module exports ``app``: a Typer with one command and no callback is a
# verb, any other a noun with verbs.
ROOMS: Final = {
    "job": Room("awa_cli.commands.job", _JOBS),
    "queue": Room("awa_cli.commands.queue", _JOBS),
    "kind": Room("awa_cli.commands.kind", _JOBS),
    "cron": Room("awa_cli.commands.cron", _JOBS),
    "dlq": Room("awa_cli.commands.dlq", _JOBS),
    "failure": Room("awa_cli.commands.failure", _JOBS),
    "batch": Room("awa_cli.commands.batch", _JOBS),
    "workflow": Room("awa_cli.commands.workflow", _JOBS),
    "callback": Room("awa_cli.commands.callback", _JOBS),
    "workers": Room("awa_cli.commands.workers", _JOBS),
    "audit": Room("awa_cli.commands.audit", _JOBS),
    "tui": Room("awa_cli.commands.tui", _JOBS),
    "worker": Room("awa_cli.commands.worker", _RUN),
    "bench": Room("awa_cli.commands.bench", _RUN),
    "serve": Room("awa_cli.commands.serve", _RUN),
    "callbacks": Room("awa_cli.commands.callbacks", _RUN),
    "access": Room("awa_cli.commands.access", _RUN),
    "demo": Room("awa_cli.commands.demo", _RUN),
    "migrate": Room("awa_cli.commands.migrate", _DATABASE),
    "storage": Room("awa_cli.commands.storage", _DATABASE),
    "roles": Room("awa_cli.commands.roles", _DATABASE),
    "health": Room("awa_cli.commands.health", _DATABASE),
    "doctor": Room("awa_cli.commands.doctor", _DATABASE),
    "version": Room("awa_cli.commands.version", _DATABASE),
    "dev": Room("awa_cli.commands.dev", _DATABASE),
    "context": Room("awa_cli.commands.context", _DATABASE),
}


# The names that other tools have for these commands.
_ELSEWHERE: Final = {
    "ls": ("list",),
    "get": ("show", "list"),
    "describe": ("show",),
    "info": ("show",),
    "cat": ("show",),
    "rm": ("remove", "discard", "purge"),
    "del": ("remove", "discard", "purge"),
    "delete": ("remove", "discard", "purge"),
    "create": ("add", "enqueue", "submit"),
    "new": ("add", "enqueue", "submit"),
    "insert": ("enqueue",),
    "push": ("enqueue",),
    "requeue": ("retry",),
    "rerun": ("retry",),
    "kill": ("cancel",),
    "stop": ("cancel", "pause"),
    "unpause": ("resume",),
    "start": ("resume", "worker"),
    "run": ("trigger", "worker"),
    "top": ("tui",),
    "monitor": ("tui",),
    "ps": ("workers",),
    "status": ("health", "show"),
    "web": ("serve",),
    "ui": ("tui", "serve"),
    "upgrade": ("migrate",),
    "check": ("doctor",),
    "config": ("context",),
    "help": ("--help",),
    "completion": ("--install-completion",),
}  # fmt: skip - one line for each word is four times as long


class UnknownCommand(UsageError):
    """No command has this name.  ``nearest`` holds complete command lines with a similar name."""

    def __init__(self, name: str, ctx: Context, nearest: list[str]) -> None:
        super().__init__(f"no such command {name!r}", ctx)
        self.nearest = nearest


def _help(command: Any, ctx: Any) -> str:
    width = shutil.get_terminal_size().columns
    return render(help_page(command, ctx), width=width, color=common(ctx).color())


class AwaCommand(TyperCommand):
    """A command with the common options and our help page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()

    def make_parser(self, ctx: Any) -> Any:
        """Make the parser, which refuses a second value for an option that takes one."""
        parser = super().make_parser(ctx)
        read = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            opts, rest, given = read(args)
            if not ctx.resilient_parsing:
                _refuse_second(ctx, given)
            return opts, rest, given

        parser.parse_args = parse_args  # type: ignore[method-assign] # click has no other hook
        return parser

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        formatter.write(_help(self, ctx))


class AwaGroup(TyperGroup):
    """A group with the common options, our help page, and hints for misspelled commands.

    A verb is built on first use: building all of ``awa job`` would take a third of the start-up
    time of ``awa job list``.
    """

    def __init__(self, *args: Any, verbs: Sequence[CommandInfo] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += common_options()
        self.no_args_is_help = True
        self._verbs = {_verb(info): info for info in verbs}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(self._verbs)

    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:  # noqa: ARG002 - click's signature
        """Build a verb."""
        if cmd_name not in self.commands and (info := self._verbs.get(cmd_name)) is not None:
            self.commands[cmd_name] = _build(info)
        return self.commands.get(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help page."""
        formatter.write(_help(self, ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command.  Raises UnknownCommand with the nearest names."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            raise UnknownCommand(args[0], ctx, self.nearest(ctx, args[0]))
        return super().resolve_command(ctx, args)

    def nearest(self, ctx: Any, name: str) -> list[str]:
        """Return command lines with a similar name, or with the name of another tool."""
        known = self.list_commands(ctx)
        close = [one for one in _ELSEWHERE.get(name, ()) if one in known or one.startswith("--")]
        if not close:
            from difflib import get_close_matches  # 3 ms, and only a mistake needs it

            close = get_close_matches(name, known)
        return [f"{ctx.command_path} {one}" for one in close]


class Root(AwaGroup):
    """The top level, whose commands are modules."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names in the order of the help."""
        return list(ROOMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Command | None:
        """Import the module of a command."""
        if cmd_name not in self.commands and cmd_name in self.list_commands(ctx):
            self.commands[cmd_name] = _enter(cmd_name)
        return self.commands.get(cmd_name)

    def nearest(self, ctx: Any, name: str) -> list[str]:
        """Return nouns that have this verb, too: for ``awa retry`` ``awa job retry``."""
        deeper = []
        for noun in self.list_commands(ctx):
            room = self.get_command(ctx, noun)
            if isinstance(room, TyperGroup) and name in room.list_commands(ctx):
                deeper.append(f"{ctx.command_path} {noun} {name}")
        return deeper or super().nearest(ctx, name)


def _refuse_second(ctx: Any, given: Sequence[Any]) -> None:
    """Refuse a repeated option: click would ignore all its values but the last."""
    seen = set()
    for param in given:
        if param.param_type_name != "option" or param.multiple or param.is_flag or param.count:
            continue
        if param.name in seen:
            from awa_lib.errors import InvalidInput

            name = max(param.opts, key=len)
            raise InvalidInput(
                f"{name} is given twice",
                why="it takes one value",
                hint=f"give {name} {param.make_metavar(ctx)} once; run the command for each value",
            )
        seen.add(param.name)


def _enter(name: str) -> Any:
    room = ROOMS[name]
    inner: typer.Typer = import_module(room.module).app
    command: Any
    if len(inner.registered_commands) > 1 or inner.registered_callback is not None:
        command = AwaGroup(
            verbs=inner.registered_commands, help=inner.info.help, epilog=inner.info.epilog
        )
    else:
        command = _build(inner.registered_commands[0])
    command.name, command.rich_help_panel = name, room.panel
    return command


def _build(info: CommandInfo) -> Command:
    if info.cls is TyperCommand:
        info.cls = AwaCommand
    return get_command_from_info(info, pretty_exceptions_short=True, rich_markup_mode=None)


def _verb(info: CommandInfo) -> str:
    return info.name or get_command_name(info.callback.__name__)  # type: ignore[union-attr] # a command has a callback


app = typer.Typer(
    cls=Root,
    name="awa",
    add_completion=False,  # parser.tab and parser.shells complete
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""
    awa job list --state failed      # list failed jobs
    awa job show 42                  # show the error and what to do
    awa job retry --state failed --kind send_email
    awa queue pause email            # start no more jobs
    awa doctor                       # check for problems
    awa worker myapp.jobs:client --queue email=20
    awa migrate --database-url postgresql://localhost/app
    awa demo                         # try it without a database
    """,
)


def _version(value: bool) -> None:
    if value:
        from awa_cli.version import version

        typer.echo(f"awa {version()}")
        raise typer.Exit


def _install(value: bool) -> None:
    if value:
        from awa_cli.parser.shells.install import install
        from awa_cli.terminal.output import result

        shell, path = install()
        result(f"Completion for {shell} installed in {path}; it takes effect in a new shell.")
        raise typer.Exit


def _show(value: bool) -> None:
    if value:
        from awa_cli.parser.shells.install import current_shell, script

        typer.echo(script(current_shell()), nl=False)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", "-V", is_eager=True, callback=_version, help="Print the version."
    ),
    install_completion: bool = typer.Option(
        False,
        "--install-completion",
        is_eager=True,
        callback=_install,
        help="Install completion for the current shell.",
    ),
    show_completion: bool = typer.Option(
        False,
        "--show-completion",
        is_eager=True,
        callback=_show,
        help="Print the completion script of the current shell, to install it elsewhere.",
    ),
) -> None:
    """Operate a job queue that lives in PostgreSQL.

    A command is a noun and a verb, such as awa job list, or a single verb, such as awa migrate.
    """
