"""The lines around a screen: where one is, what state the data is in, which places there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from textual.content import Content
from textual.widgets import Static

from awa_cli.tui.navigation import PLACES
from awa_cli.views.words import clean, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_cli.tui.app import Monitor
    from awa_cli.tui.history import Stop
    from awa_cli.tui.navigation import Place

__all__ = ["Banner", "PlaceBar", "StatusBar"]

_SHORT: Final = 12


class StatusBar(Static):
    """The database and the way here on the left, the age of the data on the right."""

    app: Monitor

    def __init__(self, stop: Stop, **options: Any) -> None:
        super().__init__(**options)
        self._stop = stop
        self._drawn = ""

    def on_mount(self) -> None:
        """Say the age anew each second."""
        self.set_interval(1.0, self.draw)
        self.draw()

    def on_resize(self) -> None:
        """Fit the line."""
        self.draw()

    def draw(self) -> None:
        """Draw the line, if it is another."""
        right = self._state()
        room = self.size.width
        left = self._way()
        if (over := left.cell_length + right.cell_length + 1 - room) > 0:
            # The way here says more than the beginning of a long address.
            left = self._way(over)
            left = left.truncate(max(room - right.cell_length - 1, 0), ellipsis=True)
        gap = room - left.cell_length - right.cell_length
        line = Content.assemble(left, " " * max(gap, 0), right)
        if str(line.markup) != self._drawn:
            self._drawn = str(line.markup)
            self.update(line)

    def _way(self, over: int = 0) -> Content:
        """Return the way here, shorter by so many cells if the name of the database allows it."""
        app = self.app
        context = app.source.target.context
        name = context.name if context is not None else app.source.target.label
        if over and len(name) > _SHORT:
            kept = max(len(name) - over - 1, _SHORT)
            name = ("~" if app.ascii_only else "…") + name[-kept:]
        color = f"bold {app.context_color}".strip()
        parts: list[Content | tuple[str, str]] = [(clean(name), color)]
        if not app.source.can_change:
            parts.append((" read-only", "$text-warning"))
        arrow = " > " if app.ascii_only else " \u203a "
        for number, stop in enumerate(self._stop.line()):
            last = stop is self._stop
            parts.append((arrow, "$quiet"))
            style = "bold" if last else f"@click=app.out_to({number})"
            parts.append((app.title_of(stop), style))
        return Content.assemble(*parts)

    def _state(self) -> Content:
        app = self.app
        dot = "*" if app.ascii_only else "●"
        age = app.source.age()
        old = "" if age is None else span(age.total_seconds())
        if app.source.lost is not None:
            return Content.assemble((f"{dot} lost", "$text-error"), f", {old} old" if old else "")
        if not app.app_focus:
            return Content.assemble((f"paused, {old} old", "$quiet"))
        if age is None:
            return Content.assemble(("connecting", "$quiet"))
        # A page that looks seldom is not late before its next look is.
        late = age.total_seconds() > max(3 * app.interval, getattr(self.screen, "every", 0) + 5)
        style = "$text-warning" if late else "$text-success"
        return Content.assemble((dot, style), (f" {old} ago" if late else " live", "$quiet"))


class PlaceBar(Static):
    """The places with their keys."""

    app: Monitor

    def __init__(self, here: str, **options: Any) -> None:
        super().__init__(**options)
        self._here = here

    def on_resize(self) -> None:
        """Fit the line: keys and titles, or titles whose first letter is the key, or less."""
        room = self.size.width
        line = self._keyed()
        if line.cell_length > room:
            line = self._lettered()
        self.update(line.truncate(room, ellipsis=True))

    def _keyed(self) -> Content:
        parts: list[tuple[str, str]] = []
        for place, click, style in self._places():
            key = self.app.key_of(f"go.{place.id}")
            parts += [(key, f"$quiet {click}"), (f" {place.title}  ", f"{style} {click}")]
        return Content.assemble(*parts)

    def _lettered(self) -> Content:
        parts: list[tuple[str, str]] = []
        for place, click, style in self._places():
            title = place.title.partition(" ")[0]
            key = self.app.key_of(f"go.{place.id}", title[0])
            mark = f"bold underline {style} {click}"
            rest = title[1:] if key == title[0] else f" {title}"
            parts += [(key, mark), (rest, f"{style} {click}"), (" ", "")]
        return Content.assemble(*parts)

    def _places(self) -> Iterator[tuple[Place, str, str]]:
        """Yield places with what a click does and how they look."""
        for place in PLACES.values():
            if not place.needs_subject:
                style = "bold $text-primary" if place.id == self._here else ""
                yield place, f"@click=app.go('{place.id}')", style


class Banner(Static):
    """Says that the database is lost, or what else is wrong; hidden otherwise."""

    def say(self, text: str) -> None:
        """Show a text, or hide for none."""
        self.display = bool(text)
        self.update(Content(text))
