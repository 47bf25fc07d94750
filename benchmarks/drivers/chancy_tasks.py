"""Chancy finds jobs by import path, so these have a module of their own."""

from __future__ import annotations

import roles
from chancy import job


@job(queue="default")
async def noop(*, n: int, t: float = 0.0) -> None:
    await roles.handle(t)


@job(queue="default")
async def other(*, n: int, t: float = 0.0) -> None:
    await roles.handle(t)


@job(queue="default")
def blocking(*, n: int, t: float = 0.0) -> None:
    roles.block(t)


TASKS = [blocking] if roles.BLOCKS else [noop, other]
