"""The op of the doctor, in a module that is cheap to import: every client has it as a verb."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from awa_lib.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from awa_lib._sql import Op
    from awa_lib.doctor.finding import Finding
    from awa_lib.doctor.limits import Limits

__all__ = ["doctor"]


def doctor(
    checks: Iterable[str] | None = None,
    *,
    everything: bool = False,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.time,
    beside: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Op[list[Finding]]:
    """Run the checks and return their findings, the worst first.

    ``checks`` names some of ``awa_lib.doctor.CHECKS``; ``everything`` adds a finding for each
    check that found nothing.  A check that cannot read its facts is a warning.  Changes nothing,
    waits for no lock for long, works on a standby.  ``beside`` opens a second connection and keeps
    it in a transaction: without it a transaction pooler is found only on a busy server.
    Raises ValidationError for an unknown check or a wrong option, SchemaMismatch, Unavailable.
    """
    # 20 ms that an application does not need to insert jobs.
    from awa_lib.doctor.checks import choose, examine
    from awa_lib.doctor.collect import Circumstances
    from awa_lib.doctor.limits import Limits

    if not isinstance(everything, bool):
        raise ValidationError(f"everything must be True or False, got {everything!r}")
    if limits is not None and not isinstance(limits, Limits):
        raise ValidationError(f"limits must be Limits of awa_lib.doctor, got {limits!r}")
    for name, function in (("clock", clock), ("beside", beside)):
        if not callable(function):
            raise ValidationError(f"{name} must be a function, got {function!r}")
    given = Circumstances(limits or Limits(), clock, beside)
    return (yield from examine(choose(checks), given, everything=everything))
