"""Help pages: the text of ``--help``, of the manual and of the reference."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from typer.core import TyperGroup

from awa_cli.parser.options import COMMON_PANEL

if TYPE_CHECKING:
    import typer

__all__ = ["Page", "Section", "help_page", "render"]

_WIDEST: Final = 100
_NARROWEST: Final = 30
_TERM_LIMIT: Final = 30


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with (term, text) entries below it."""

    title: str
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Page:
    """The help page of one command."""

    path: str
    about: str
    usage: str
    sections: tuple[Section, ...]
    examples: tuple[str, ...]

    @property
    def summary(self) -> str:
        """The first paragraph, without its full stop."""
        return self.about.split("\n\n")[0].replace("\n", " ").removesuffix(".")


def help_page(command: Any, ctx: typer.Context) -> Page:
    """Collect the help page of a command."""
    panels: dict[str, list[tuple[str, str]]] = {}
    if isinstance(command, TyperGroup):
        for name in command.list_commands(ctx):
            sub = command.get_command(ctx, name)
            if sub is not None and not sub.hidden:
                title = getattr(sub, "rich_help_panel", None) or "Commands"
                text = sub.get_short_help_str(limit=200).removesuffix(".")
                panels.setdefault(title, []).append((name, text))
    tail: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        if param.param_type_name == "argument":
            entry = (param.metavar or param.name, param.help or "")
            panels.setdefault("Arguments", []).append(entry)
        elif not param.hidden and (record := param.get_help_record(ctx)):
            common = getattr(param, "rich_help_panel", None) == COMMON_PANEL
            home = tail if common or param.name == "help" else panels
            title = COMMON_PANEL if home is tail else "Options"
            home.setdefault(title, []).append((record[0].strip(), _plain_ranges(record[1].strip())))
    return Page(
        path=ctx.command_path,
        about=(command.help or "").strip(),
        usage=_usage(command, ctx),
        sections=tuple(
            Section(title, tuple(entries)) for title, entries in (panels | tail).items()
        ),
        examples=tuple(
            line.strip() for line in (command.epilog or "").splitlines() if line.strip()
        ),
    )


def _usage(command: Any, ctx: typer.Context) -> str:
    if isinstance(command, TyperGroup):
        return f"{ctx.command_path} COMMAND [OPTIONS]"
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    words = [param.metavar if param.required else f"[{param.metavar}]" for param in arguments]
    return " ".join([ctx.command_path, *words, "[OPTIONS]"])


def _plain_ranges(text: str) -> str:
    """Write ``1<=x<=4`` as ``1 to 4``."""
    text = re.sub(r"(\d+(?:\.\d+)?)<=x<=(\d+(?:\.\d+)?)", r"\1 to \2", text)
    return re.sub(r"x>=(\d+(?:\.\d+)?)", r"at least \1", text)


def render(page: Page, *, width: int, color: bool) -> str:
    """Lay a page out for a terminal."""
    width = min(max(width, _NARROWEST), _WIDEST) - 1
    paragraphs = [textwrap.fill(" ".join(text.split()), width) for text in page.about.split("\n\n")]
    parts = ["\n\n".join(paragraphs), _bold("Usage:", color) + " " + page.usage]
    parts += [
        _bold(section.title + ":", color) + "\n" + _entries(section, width)
        for section in page.sections
    ]
    if page.examples:
        lines = "\n".join(f"  {line}" for line in page.examples)
        parts.append(_bold("Examples:", color) + "\n" + lines)
    return "\n\n".join(parts) + "\n"


def _entries(section: Section, width: int) -> str:
    longest = max(len(term) for term, _ in section.entries)
    column = min(longest, _TERM_LIMIT) + 4
    lines = []
    for term, text in section.entries:
        body = textwrap.wrap(text, max(20, width - column)) or [""]
        head = f"  {term}"
        if len(head) + 2 > column:
            lines.append(head)
            head = ""
        lines.append(f"{head:<{column}}{body[0]}".rstrip())
        lines += [" " * column + line for line in body[1:]]
    return "\n".join(lines)


def _bold(text: str, color: bool) -> str:
    return f"\x1b[1m{text}\x1b[0m" if color else text
