"""The findings of ``awa doctor``."""

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
    all: Annotated[bool, Rule(description="Include the checks that found nothing.")] = False,  # noqa: A002 - the name in the query
) -> Op[list[Finding]]:
    """Run the checks of ``awa doctor``; each finding says what to do, with the exact command."""
    return examine(check, everything=all)
