"""``awa tui``: the live monitor."""

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
    str | None, typer.Option(metavar="NAME", help="Where to begin: overview, jobs, queues, ….")
]
Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="FILTER", help="Which jobs: 'state:failed kind:email'."),
]
Theme = Annotated[
    str | None, typer.Option(metavar="NAME", help="awa-dark, awa-light, or one of Textual's.")
]
Interval = Annotated[
    str | None, typer.Option(metavar="DURATION", help="How often to look; 2s by default.")
]
Screenshot = Annotated[
    str | None, typer.Option(metavar="FILE", help="Write one frame as SVG, without a terminal.")
]
Size = Annotated[str, typer.Option(metavar="COLUMNSxLINES", help="Size of the screenshot.")]
Record = Annotated[
    str | None, typer.Option(metavar="FILE", help="Record the session as asciicast v2.")
]
Web = Annotated[
    bool, typer.Option("--web", help="Serve it to a browser of this machine, not here.")
]
Port = Annotated[int, typer.Option(metavar="PORT", min=1, max=65535, help="With --web.")]


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
    screen: Screen = None,
    filter_text: Filter = None,
    read_only: Annotated[bool, typer.Option("--read-only", help="Change nothing.")] = False,
    theme: Theme = None,
    interval: Interval = None,
    screenshot: Screenshot = None,
    size: Size = "120x36",
    record: Record = None,
    web: Web = False,
    port: Port = 8321,
) -> int:
    """Watch and operate the queue on one live screen.

    Press ? for its keys, : for its commands, q to leave.
    Looks less often while a look is expensive, and not at all while the terminal is not in use.
    """
    from awa_cli.database.config import read_config
    from awa_cli.filters.text import read_filter
    from awa_cli.filters.values import read_interval
    from awa_cli.tui import launch

    settings = read_config().tui
    place = launch.check_screen(screen) if screen else "jobs" if filter_text else None
    if filter_text:
        read_filter(filter_text)
    seconds = read_interval(interval or settings.interval or "2s")
    frame = launch.read_size(size)
    target = find_target(common(ctx))
    with served(target) as url:
        monitor = launch.make(
            target,
            url,
            screen=place,
            filter_text=filter_text,
            read_only=read_only,
            theme=theme or settings.theme,
            interval=seconds,
            keys=settings.keys,
            find_context=_named,
        )
        if web:
            options = {
                "--screen": place, "--filter": filter_text, "--theme": theme,
                "--interval": interval,
            }  # fmt: skip
            _serve(target, url, options, port, read_only=read_only)
            return 0
        if screenshot is not None:
            launch.take_screenshot(monitor, screenshot, frame)
            result(f"Wrote {screenshot}")
            return 0
        if record is not None:
            launch.record(monitor, record)
        monitor.run()
        return monitor.return_code or 0


def _serve(
    target: Target, url: str, options: dict[str, str | None], port: int, *, read_only: bool
) -> None:
    """Serve this monitor to a browser; the processes behind it get the database by environment."""
    import os

    from awa_cli.tui.browser import serve_browser

    words = [word for name, value in options.items() if value for word in (name, value)]
    words += ["--read-only"] if read_only else []
    if target.context is not None:
        words += ["--context", target.context.name]
    else:
        os.environ["DATABASE_URL"] = url
    serve_browser(words, port, target.label, say)


def _named(name: str) -> tuple[Target, str | None]:
    """Return another database; an embedded one has to run already."""
    from awa_cli.database.config import read_config
    from awa_lib.errors import InvalidInput

    target = of_context(read_config().context(name))
    if not target.url.startswith("embedded:"):
        return target, None
    from awa_lib.embedded import status

    if (url := status(target.url).url) is None:
        raise InvalidInput(
            f"the server of the context {name!r} does not run",
            hint=f"start it: awa dev up, then awa tui --context {name}",
        )
    return target, url
