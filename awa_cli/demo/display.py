"""The live screen of the demo, and its plain form for pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

from awa_cli.terminal.output import say

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from awa_cli.demo.flow import Moment

__all__ = ["LiveScreen", "PlainScreen"]

_EVENTS: Final = 6
_BAR: Final = 32
_PLAIN_SECONDS: Final = 2.0
# State, sign and color; the sign shows the state without colors.
_STATES: Final = (
    ("available", "·", "cyan"),
    ("running", "▶", "yellow"),
    ("scheduled", "◷", "blue"),
    ("retryable", "↻", "magenta"),
    ("completed", "✓", "green"),
    ("failed", "✗", "red"),
    ("cancelled", "-", "bright_black"),
)


class PlainScreen:
    """Prints lines to stderr at intervals."""

    def __init__(self) -> None:
        self._events = 0
        self._next = 0.0

    def __enter__(self) -> Self:
        """Return the screen."""
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def show(self, moment: Moment) -> None:
        """Print new events, and the counts every two seconds."""
        for at, text in moment.events[self._events :]:
            say(f"{at:5.1f} s  {text}")
        self._events = len(moment.events)
        if moment.elapsed >= self._next:
            self._next = moment.elapsed + _PLAIN_SECONDS
            say(
                f"{moment.elapsed:5.1f} s  {moment.ended:,} of {moment.jobs:,} jobs ended, "
                f"{moment.rate:,.0f}/s"
            )


class LiveScreen:
    """A block of the terminal that is redrawn in place."""

    def __init__(self, console: Console, label: str) -> None:
        from rich.live import Live

        self._console = console
        self._label = label
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Remove the block; the final table replaces it."""
        self._live.__exit__(None, None, None)

    def show(self, moment: Moment) -> None:
        """Draw this moment at the next refresh."""
        self._live.update(self._draw(moment))

    def _draw(self, moment: Moment) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        body = Group(
            self._total(moment),
            Text(""),
            self._states(moment),
            Text(""),
            self._survey(moment),
            Text(""),
            *self._events(moment),
        )
        return Panel(
            body,
            title=f"[bold]awa demo[/]  {self._label}",
            title_align="left",
            subtitle=f"{moment.elapsed:.1f} s · Ctrl-C stops",
            subtitle_align="right",
            width=min(self._console.width, 100),
            padding=(1, 2),
        )

    def _total(self, moment: Moment) -> RenderableType:
        from rich.text import Text

        share = moment.ended / moment.jobs if moment.jobs else 0.0
        line = Text("jobs      ")
        line.append_text(self._bar(share, "green"))
        line.append(f" {moment.ended:>6,} / {moment.jobs:,}", style="bold")
        line.append(f"   {moment.rate:,.0f}/s", style="cyan")
        return line

    def _states(self, moment: Moment) -> RenderableType:
        from rich.table import Table

        table = Table.grid(padding=(0, 3), expand=False)
        rows = [
            f"[{color}]{sign} {name:<10}[/] {moment.states.get(name, 0):>7,}"
            for name, sign, color in _STATES
            if name != "cancelled" or moment.states.get(name)
        ]
        half = (len(rows) + 1) // 2
        for left, right in zip(rows[:half], [*rows[half:], ""], strict=False):
            table.add_row(left, right)
        return table

    def _survey(self, moment: Moment) -> RenderableType:
        from rich.text import Text

        line = Text("long job  ")
        line.append_text(self._bar(moment.survey_percent / 100, "blue"))
        line.append(f" {moment.survey_percent:>3}%  {moment.survey_message}")
        return line

    def _bar(self, share: float, color: str) -> Text:
        from rich.text import Text

        full = round(max(0.0, min(1.0, share)) * _BAR)
        on, off = ("━", "─") if self._console.encoding.startswith("utf") else ("#", "-")
        return Text(on * full, style=color) + Text(off * (_BAR - full), style="bright_black")

    def _events(self, moment: Moment) -> list[RenderableType]:
        from rich.text import Text

        recent = moment.events[-_EVENTS:]
        lines = [
            Text(f"{at:5.1f} s  {text}", style="" if (at, text) == recent[-1] else "dim")
            for at, text in recent
        ]
        return [*lines, *[Text("")] * (_EVENTS - len(lines))]
