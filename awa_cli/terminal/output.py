"""Print results on stdout and remarks on stderr."""

from __future__ import annotations

import json
import re
import shutil
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from awa_cli.documents.encoding import encode
from awa_cli.invocation import Common, common
from awa_cli.terminal.formats import Format, Shape, field_of, without_controls, write_data
from awa_cli.terminal.pager import page
from awa_cli.terminal.tables import table_lines
from awa_cli.views.words import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from awa_cli.views.columns import Column

__all__ = [
    "ReaderLeft",
    "document_text",
    "result",
    "say",
    "show_document",
    "show_line",
    "show_live",
    "show_live_text",
    "show_one",
    "show_raw",
    "show_rows",
    "show_text",
]

T = TypeVar("T")


class ReaderLeft(Exception):
    """The reader of stdout has closed the pipe, as ``| head`` does."""


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise ReaderLeft from None


def result(text: str) -> None:
    """Print what a command did: one sentence on stdout, as scripts for awa 0.5 expect."""
    _write(_escape(text) + "\n")


# All control characters but line ends and tabs; colour sequences are ours.
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;]*m|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _escape(text: str) -> str:
    """Escape control characters, so that no name can control the terminal."""
    return _CONTROLS.sub(lambda found: found[0] if "[" in found[0] else repr(found[0])[1:-1], text)


def show_text(text: str) -> None:
    """Print a page or a table, through a pager if it is longer than the terminal."""
    if not page(text, _options()):
        _write(text)


def say(text: str) -> None:
    """Print a remark on stderr; nothing with --quiet."""
    if _options().quiet:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderLeft from None
    sys.stderr.write(_escape(text) + "\n")


def _options() -> Common:
    from typer._click.globals import get_current_context

    ctx = get_current_context(silent=True)
    return Common() if ctx is None else common(ctx)


def show_document(value: Any) -> None:
    """Print a value as JSON, indented by two spaces."""
    _write(document_text(value))


def document_text(value: Any) -> str:
    """Return a value as JSON for stdout, as ``show_document`` prints it."""
    text = json.dumps(encode(value), indent=2, ensure_ascii=_ascii_only()) + "\n"
    return without_controls(text) if sys.stdout.isatty() else text


def show_raw(value: Any) -> None:
    """Print a JSON value on one line, or text without its quotes."""
    text = value if isinstance(value, str) else _on_one_line(value)
    _write((without_controls(text) if sys.stdout.isatty() else text) + "\n")


def show_line(value: Any) -> None:
    """Print a JSON value on one line."""
    show_raw(_on_one_line(value))


def _on_one_line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=_ascii_only())


def show_one(row: Any, sentence: str, shape: Shape, options: Common) -> None:
    """Print a new row: in a table format the sentence, as JSON the row without a list."""
    if shape.for_people:
        result(sentence)
    elif shape.format is Format.json:
        show_document(row)
    else:
        show_rows([row], (), shape, options, empty="")


def _ascii_only() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"


def show_rows(
    rows: Iterable[T],
    columns: Sequence[Column[T]],
    shape: Shape,
    options: Common,
    *,
    empty: str,
    footer: Callable[[Sequence[T]], str] | None = None,
    chosen: Sequence[str] = (),
) -> int:
    """Print rows as a table or as data; return their number.

    ``empty`` is printed for a table without rows.  ``chosen`` fields replace the columns.
    """
    if not shape.for_people:
        at_terminal = sys.stdout.isatty()
        return write_data(
            rows, shape, chosen, _write, ascii_only=_ascii_only(), at_terminal=at_terminal
        )
    rows = list(rows)
    if not rows:
        result(empty)
        return 0
    show_text("\n".join(_table(rows, columns, shape, options, chosen)) + "\n")
    if footer:
        say(f"\n{footer(rows)}")
    return len(rows)


def _table(
    rows: Sequence[T],
    columns: Sequence[Column[T]],
    shape: Shape,
    options: Common,
    chosen: Sequence[str],
) -> list[str]:
    """Lay out a table: as wide as the terminal, or unlimited in a pipe and with -o wide."""
    from awa_cli.terminal.colors import Paint

    wide = shape.format is Format.wide
    if chosen:
        columns = [_field_column(name) for name in chosen]
    else:
        columns = [column for column in columns if wide or not column.wide]
    fits = sys.stdout.isatty() and not wide
    room = shutil.get_terminal_size().columns if fits else None
    return table_lines(rows, columns, Paint(color=options.color()), room)


def _field_column(name: str) -> Column[Any]:
    from awa_cli.views.columns import Column

    def get(row: Any) -> Any:
        value = field_of(encode(row), name)
        return value if value is None or isinstance(value, str) else json.dumps(value)

    # A cut id would be useless.
    return Column(name, name.upper(), get, width=None if name.endswith("id") else 8)


def show_live(
    read: Callable[[], Sequence[T]],
    columns: Sequence[Column[T]],
    shape: Shape,
    options: Common,
    seconds: float,
    *,
    chosen: Sequence[str] = (),
) -> NoReturn:
    """Print rows repeatedly until Ctrl-C: in place at a terminal, else one table after another."""
    from awa_cli.feed import watch

    if not (shape.for_people and sys.stdout.isatty()):
        for rows in watch(read, seconds):
            show_rows(rows, columns, shape, options, empty="Nothing yet.", chosen=chosen)
            sys.stdout.flush()
    _redraw(
        (_table(rows, columns, shape, options, chosen) for rows in watch(read, seconds)), seconds
    )
    raise AssertionError


def show_live_text(read: Callable[[], tuple[str, bool]], seconds: float, *, screen: bool) -> None:
    """Print a text repeatedly until Ctrl-C, or until ``read`` says that it is the last.

    With ``screen`` it is drawn in place at a terminal; the last one stays.
    """
    from awa_cli.feed import watch

    if not (screen and sys.stdout.isatty()):
        for text, last in watch(read, seconds):
            _write(text)
            sys.stdout.flush()
            if last:
                return
    text = ""

    def screens() -> Iterator[list[str]]:
        nonlocal text
        for text, last in watch(read, seconds):
            if last:
                return
            yield text.splitlines()

    _redraw(screens(), seconds)
    _write(text)


def _redraw(screens: Iterable[list[str]], seconds: float) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for lines in screens:
            clock = f"{datetime.now().astimezone():%H:%M:%S}"
            below = ["", f"{clock}, every {span(seconds)}; Ctrl-C to stop"]
            drawn = "\n".join(lines + below)
            live.update(Text.from_ansi(drawn, no_wrap=True, overflow="ellipsis"), refresh=True)
