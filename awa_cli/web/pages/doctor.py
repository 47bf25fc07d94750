"""The page of the doctor's findings."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from awa_cli.views.words import counted, now
from awa_cli.web.pages.render import read, render
from awa_lib.doctor import CHECKS, Finding, Severity
from awa_lib.doctor import doctor as examine

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request
    from starlette.responses import Response

    from awa_lib._sql import Op

__all__ = ["show"]

_SIGNS: Final = {"error": "✗", "warning": "!", "note": "i", "ok": "✓"}


async def show(request: Request) -> Response:
    """Show the findings, the most severe first.

    The button runs the checks again; a visit of the page may show cached findings.
    """
    everything = request.query_params.get("all") == "true"
    key = None if "HX-Request" in request.headers else ("doctor", everything)
    findings, checked_at, seconds = await read(request, _examine(everything=everything), cached=key)
    groups = [
        (severity.value, _SIGNS[severity], [one for one in findings if one.severity is severity])
        for severity in Severity
    ]
    failed = {one.check for one in findings if one.severity is not Severity.ok}
    return await render(
        request,
        "doctor.html",
        part="parts/doctor.html",
        groups=[group for group in groups if group[2]],
        summary=_summary(findings),
        passed=len(CHECKS) - len(failed),
        checks=CHECKS,
        everything=everything,
        checked_at=checked_at,
        seconds=seconds,
        command="awa doctor --all" if everything else "awa doctor",
    )


def _examine(*, everything: bool) -> Op[tuple[list[Finding], datetime, float]]:
    """Run the checks; return the findings, the time, and how long they took."""
    began = time.monotonic()
    findings = yield from examine(everything=everything)
    return findings, now(), time.monotonic() - began


def _summary(findings: list[Finding]) -> list[tuple[str, Any]]:
    count = Counter(one.severity.value for one in findings)
    return [
        (name, counted(count[name], name)) for name in ("error", "warning", "note") if count[name]
    ]
