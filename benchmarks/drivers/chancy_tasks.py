"""Chancy finds jobs by import path, so this job has a module of its own."""

from __future__ import annotations

import roles
from chancy import job


@job(queue="default")
async def noop(*, n: int, t: float = 0.0) -> None:
    roles.note(t)
