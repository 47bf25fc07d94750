"""``awa tui``: the terminal monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from awa_cli.database.session import served
from awa_cli.database.target import find_target, of_context
from awa_cli.invocation import common
from awa_cli.terminal.output import result, say

if TYPE_CHECKING:
    from awa_cli.database.target import Target

__all__ = ["app"]

app = typer.Typer()

Screen = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="First screen: overview, jobs, queues, …; overview by default."
    ),
]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", metavar="FILTER", help="Filter of the list: 'state:failed kind:email'."
    ),
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Refuse all changes.")]
Theme = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Theme: awa-dark, awa-light, or a theme of Textual."),
]
Interval = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Time between two refreshes; 2s by default.")
]
Screenshot = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="Write one frame to FILE as SVG and exit; no terminal is needed."
    ),
]
Size = Annotated[str, typer.Option(metavar="COLUMNSxLINES", help="Size of the screenshot.")]
Record = Annotated[
    str | None, typer.Option(metavar="FILE", help="Record the session to FILE as asciicast v2.")
]
Web = Annotated[bool, typer.Option("--web", help="Serve the monitor to a browser on this machine.")]
Port = Annotated[int, typer.Option(metavar="PORT", min=1, max=65535, help="Port of --web.")]


@app.command(
    epilog="""
    awa tui
    awa tui --screen jobs --filter 'state:failed since:2h'
    awa tui --context production --read-only
    awa tui --screenshot overview.svg --size 160x45
    """
)
def tui(
    ctx: typer.Context,
    *,
    screen: Screen = None,
    filter_text: Filter = None,
    read_only: ReadOnly = False,
    theme: Theme = None,
    interval: Interval = None,
    screenshot: Screenshot = None,
    size: Size = "120x36",
    record: Record = None,
    web: Web = False,
    port: Port = 8321,
) -> int:
    """Monitor and operate the queue in the terminal.

    Press ? for the keys, : for the commands, and q to quit.  It refreshes less often while its
    queries are slow, and pauses while the terminal does not have the focus.
    """
    from awa_cli.database.config import read_config
    from awa_cli.filters.values import read_interval
    from awa_cli.tui import launch

    settings = read_config().tui
    place = _first_screen(screen, filter_text)
    seconds = read_interval(interval or settings.interval or "2s")
    frame = launch.read_size(size)
    options = {
        "screen": place,
        "filter_text": filter_text,
        "read_only": read_only,
        "interval": seconds,
        "keys": settings.keys,
        "find_context": _named,
    }
    target = find_target(common(ctx))
    with served(target) as url:
        monitor = launch.make(target, url, theme=theme or settings.theme, **options)
        if web:
            given = {"screen": place, "filter": filter_text, "theme": theme, "interval": interval}
            _serve(target, url, given, port, read_only=read_only)
            return 0
        if screenshot is not None:
            launch.take_screenshot(monitor, screenshot, frame)
            result(f"Wrote {screenshot}")
            return 0
        return launch.run(monitor, record)


def _first_screen(screen: str | None, filter_text: str | None) -> str | None:
    """Return the first screen, None for the overview.  Raises InvalidInput."""
    from awa_cli.filters.query import Read
    from awa_cli.filters.text import read_text
    from awa_cli.tui import launch

    if filter_text:
        read_text(filter_text, Read.WORKFLOWS if screen == "workflows" else Read.JOBS)
    if screen:
        return launch.check_screen(screen)
    return "jobs" if filter_text else None


def _serve(
    target: Target, url: str, given: dict[str, str | None], port: int, *, read_only: bool
) -> None:
    """Serve this monitor to a browser; its processes read the URL from the environment."""
    import os

    from awa_cli.tui.browser import serve_browser

    words = [word for name, value in given.items() if value for word in (f"--{name}", value)]
    words += ["--read-only"] if read_only else []
    if target.context is not None:
        words += ["--context", target.context.name]
    else:
        os.environ["DATABASE_URL"] = url
    serve_browser(words, port, target.label, say)


def _named(name: str) -> tuple[Target, str | None]:
    """Return the database of a context; an embedded server must be running."""
    from awa_cli.database.config import read_config
    from awa_lib.errors import InvalidInput

    target = of_context(read_config().context(name))
    if not target.url.startswith("embedded:"):
        return target, None
    from awa_lib.embedded import status

    if (url := status(target.url).url) is None:
        raise InvalidInput(
            f"the server of the context {name!r} is not running",
            hint=f"start it: awa dev up; then: awa tui --context {name}",
        )
    return target, url
