"""What goes wrong, and what to do about it."""

from __future__ import annotations

from typing import Annotated

from awa_cli.web.endpoints import Routes
from awa_cli.web.json_schema import Rule
from awa_lib._sql import Op
from awa_lib.doctor import CHECKS, Finding
from awa_lib.doctor import doctor as examine

__all__ = ["routes"]

routes = Routes("doctor")

Check = Annotated[str, Rule(enum=list(CHECKS))]


@routes.get("/doctor", cached=True)
def doctor(
    *,
    check: Annotated[list[Check], Rule(maxItems=len(CHECKS))] | None = None,
    all: Annotated[bool, Rule(description="Checks that found nothing too.")] = False,  # noqa: A002
) -> Op[list[Finding]]:
    """What ``awa doctor`` finds; each finding says what to do, with the exact command."""
    return examine(check, everything=all)
