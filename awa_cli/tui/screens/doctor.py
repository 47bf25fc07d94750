"""The findings of the doctor."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding
from textual.content import Content

from awa_cli.tui.screens.detail_page import DetailPage
from awa_cli.views.columns import FINDINGS, Column
from awa_cli.views.states import SEVERITY_STYLES
from awa_cli.views.words import clean, counted
from awa_lib.doctor import CHECKS, Finding, doctor

if TYPE_CHECKING:
    from awa_lib._sql import Op

__all__ = ["DoctorPage"]

# The checks read every table.
_INTERVAL: Final = 60.0
_COLUMNS: Final = (
    *(one for one in FINDINGS if one.key in {"severity", "check"}),
    Column("what", "WHAT", lambda one: one.what, width=30),
    Column("why", "WHY", lambda one: one.why or "", width=30, wide=True),
    Column(
        "do",
        "DO",
        lambda one: (one.do or "").partition("\n")[0],
        width=12,
        style=lambda _: "cyan",
    ),
)


class DoctorPage(DetailPage[Finding]):
    """A row for each finding, the worst first; the panel shows why and what to do."""

    COLUMNS = _COLUMNS
    EMPTY = "No findings."
    BINDINGS: ClassVar = [
        Binding("a", "all", "Show or hide ok", id="doctor.all"),
        Binding("y", "copy", "Copy command", id="doctor.copy"),
    ]

    @property
    def _all(self) -> bool:
        return bool(self.app.saved_state.get("doctor.all", False))

    @property
    def read_interval(self) -> float:
        """Read once a minute."""
        return _INTERVAL

    def query_op(self) -> Op[list[Finding]]:
        """Run the checks."""
        return doctor(everything=self._all)

    def key(self, row: Finding) -> tuple[Any, ...]:
        """Return what identifies a finding."""
        return (row.check, row.subject, row.what)

    def head(self, rows: list[Finding]) -> Content:
        """Return the number of findings by severity."""
        counts = Counter(one.severity.value for one in rows)
        parts: list[Any] = []
        for name in ("error", "warning", "note"):
            if counts[name]:
                style = self.app.paint.css(SEVERITY_STYLES[name])
                parts += [(counted(counts[name], name), style), "  "]
        found = {one.check for one in rows if one.severity != "ok"}
        rest = counted(len(CHECKS) - len(found), "check")
        parts.append((f"{rest} passed; press ctrl+r to check again", "$quiet"))
        return Content.assemble(*parts)

    def about(self, row: Finding) -> Content:
        """Show why, and what to do."""
        style = self.app.paint.css(SEVERITY_STYLES[row.severity])
        subject = f"  {clean(row.subject)}" if row.subject else ""
        lines = [
            Content.assemble((row.severity.value, style), "  ", (row.check, "bold"), subject),
            Content(clean(row.what)),
        ]
        if row.why:
            lines.append(Content.assemble(("why  ", "$quiet"), clean(row.why)))
        for number, line in enumerate((row.do or "").splitlines()):
            head = "do   " if number == 0 else "     "
            lines.append(Content.assemble((head, "$quiet"), (clean(line), "$text-accent")))
        return Content("\n").join(lines)

    def opened(self, row: Finding) -> None:
        """Copy what to do."""
        if row.do:
            self.app.copy_to_clipboard(row.do)
            self.app.notify("Copied.")

    def action_copy(self) -> None:
        """Copy what to do about the row under the cursor."""
        if self.grid.row is not None:
            self.opened(self.grid.row)

    def action_all(self) -> None:
        """Show or hide the checks that passed."""
        self.app.saved_state.put("doctor.all", not self._all)
        self.reread()
