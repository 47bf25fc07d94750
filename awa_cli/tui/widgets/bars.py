"""The bars of a page: database, path and state of the data; the navigation; the error banner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from textual.content import Content
from textual.widgets import Static

from awa_cli.tui.navigation import PAGES
from awa_cli.views.words import clean, span

if TYPE_CHECKING:
    from collections.abc import Iterator

    from awa_cli.tui.history import Visit
    from awa_cli.tui.host import Host
    from awa_cli.tui.navigation import PageEntry

__all__ = ["Banner", "NavigationBar", "StatusBar"]

# The name of the database is not cut below this.
_SHORT_NAME: Final = 12


class StatusBar(Static):
    """The database and the path on the left, the age of the data on the right."""

    app: Host

    def __init__(self, visit: Visit, **options: Any) -> None:
        super().__init__(**options)
        self._visit = visit
        self._drawn = ""

    def on_mount(self) -> None:
        """Update the age each second."""
        self.set_interval(1.0, self.draw)
        self.draw()

    def on_resize(self) -> None:
        """Fit the line."""
        self.draw()

    def draw(self) -> None:
        """Draw the line if it has changed."""
        right = self._data_state()
        room = self.size.width
        left = self._path()
        if (over := left.cell_length + right.cell_length + 1 - room) > 0:
            # The path matters more than the beginning of a long URL.
            left = self._path(over)
            left = left.truncate(max(room - right.cell_length - 1, 0), ellipsis=True)
        gap = room - left.cell_length - right.cell_length
        line = Content.assemble(left, " " * max(gap, 0), right)
        if str(line.markup) != self._drawn:
            self._drawn = str(line.markup)
            self.update(line)

    def _path(self, over: int = 0) -> Content:
        """Return database and path, with the database's name cut by ``over`` cells if possible."""
        app = self.app
        context = app.source.target.context
        name = context.name if context is not None else app.source.target.label
        if over and len(name) > _SHORT_NAME:
            kept = max(len(name) - over - 1, _SHORT_NAME)
            name = ("~" if app.ascii_only else "…") + name[-kept:]
        color = f"bold {app.context_color}".strip()
        parts: list[Content | tuple[str, str]] = [(clean(name), color)]
        if not app.source.can_change:
            parts.append((" read-only", "$text-warning"))
        arrow = " > " if app.ascii_only else " \u203a "
        for number, visit in enumerate(self._visit.path()):
            last = visit is self._visit
            parts.append((arrow, "$quiet"))
            style = "bold" if last else f"@click=app.out_to({number})"
            parts.append((visit.title, style))
        return Content.assemble(*parts)

    def _data_state(self) -> Content:
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
        # Data is late only after the next read of the page was due.
        expected = max(3 * app.interval, getattr(self.screen, "read_interval", 0) + 5)
        late = age.total_seconds() > expected
        style = "$text-warning" if late else "$text-success"
        return Content.assemble((dot, style), (f" {old} ago" if late else " live", "$quiet"))


class NavigationBar(Static):
    """The pages with their keys, and the numbers of failures and dead letters."""

    app: Host

    def __init__(self, current: str, **options: Any) -> None:
        super().__init__(**options)
        self._current = current
        self._drawn = ""

    def on_resize(self) -> None:
        """Fit the line."""
        self.draw()

    def draw(self) -> None:
        """Draw keys and titles, or titles whose first letter is the key, or a part of them."""
        room = self.size.width
        line = self._keyed()
        if line.cell_length > room:
            line = self._lettered()
        line = line.truncate(room, ellipsis=True)
        if line.markup != self._drawn:
            self._drawn = line.markup
            self.update(line)

    def _keyed(self) -> Content:
        parts: list[tuple[str, str]] = []
        for page, click, style in self._pages():
            key = self.app.key_of(f"go.{page.id}")
            parts += [(key, f"$quiet {click}"), (f" {page.title}", f"{style} {click}")]
            parts += [*self._badge(page), ("  ", "")]
        return Content.assemble(*parts)

    def _lettered(self) -> Content:
        parts: list[tuple[str, str]] = []
        for page, click, style in self._pages():
            title = page.title.partition(" ")[0]
            key = self.app.key_of(f"go.{page.id}", page.keys.rpartition(",")[2])
            mark = f"bold underline {style} {click}"
            rest = title[1:] if key == title[0] else f" {title}"
            parts += [(key, mark), (rest, f"{style} {click}"), *self._badge(page), (" ", "")]
        return Content.assemble(*parts)

    def _badge(self, page: PageEntry) -> list[tuple[str, str]]:
        badges = self.app.source.badges
        number = {"failures": badges.failures, "dlq": badges.dead_letters}.get(page.id)
        return [(f" {number:,}", "bold $text-error")] if number else []

    def _pages(self) -> Iterator[tuple[PageEntry, str, str]]:
        """Yield pages with the action of a click and their style."""
        for page in PAGES.values():
            if not page.needs_subject:
                style = "bold $text-primary" if page.id == self._current else ""
                yield page, f"@click=app.go('{page.id}')", style


class Banner(Static):
    """The error of the latest read; hidden without one."""

    def show(self, text: str) -> None:
        """Show a text, or hide if it is empty."""
        self.display = bool(text)
        self.update(Content(text))
