"""``awa demo``: a queue, two workers and real jobs, without an installed database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from awa_cli.invocation import common
from awa_cli.parser.options import Report, ReportFormat

if TYPE_CHECKING:
    from awa_cli.database.target import Target
    from awa_cli.demo.tables import Found

__all__ = ["app"]

app = typer.Typer()


@app.command(epilog="awa demo ~/src")
def demo(
    ctx: typer.Context,
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="PATH", help="Folder to process; the Python standard library by default."
        ),
    ] = None,
    *,
    output: Report = ReportFormat.table,
) -> None:
    """Run a demo: a job for every file of a folder, and two workers.

    The demo uses an embedded PostgreSQL server, unless --database-url or --context is given.  One
    worker is killed in the middle of a long job, and the other continues from its checkpoint.  The
    demo can be stopped and run again at any time.
    """
    import signal
    import sys
    from dataclasses import fields

    from awa_cli.database.target import describe, named_target
    from awa_cli.terminal.output import say, show_document
    from awa_cli.terminal.prompts import permit

    root = _root(path)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    # DATABASE_URL is ignored: the demo uses a database only if the command line names it.
    target = named_target(common(ctx)) or describe("embedded:")
    permit(ctx, target)
    live = sys.stdout.isatty() and output is ReportFormat.table
    if not live:
        say(f"demo of {root}")
    found, elapsed = _play(ctx, target, root, live=live)
    if output is ReportFormat.json:
        from awa_cli.demo.tables import Report

        facts: Any = {one.name: getattr(found, one.name) for one in fields(found)}
        show_document(Report(**facts, elapsed_seconds=round(elapsed, 1), tree=root))
        return
    from rich.console import Console

    from awa_cli.demo.report import print_report

    console = Console(no_color=not common(ctx).color(), highlight=False)
    print_report(console, found, root, elapsed, target.option)


def _play(ctx: typer.Context, target: Target, root: str, *, live: bool) -> tuple[Found, float]:
    """Run the demo; return what was found, and the seconds it took."""
    from awa_cli.database.session import served
    from awa_cli.demo.display import LiveScreen, PlainScreen
    from awa_cli.demo.flow import Demo

    screen: LiveScreen | PlainScreen
    if live:
        from rich.console import Console

        label = f"[dim]{root}[/]" if len(root) < 50 else f"[dim]…{root[-48:]}[/]"  # noqa: PLR2004 - the width of the title
        screen = LiveScreen(Console(no_color=not common(ctx).color(), highlight=False), label)
    else:
        screen = PlainScreen()
    with served(target) as address, screen, Demo(address, root, screen.show) as run:
        return run.work(), run.elapsed


def _root(path: str | None) -> str:
    import os
    import sysconfig

    from awa_lib.errors import ValidationError

    if path is None:
        return sysconfig.get_path("stdlib")
    root = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - keeps undecodable names
    if not os.path.exists(root):  # noqa: PTH110 - as above
        raise ValidationError(
            f"{path!r} does not exist",
            hint="give a folder, or none for the Python standard library",
        )
    return root
