"""Find what is wrong with a queue on PostgreSQL, and what to do about it.

``doctor`` is one op.  It reads facts (frozen rows) from the database; the checks are pure functions
of the facts and return findings.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from awa_lib.doctor.op import doctor

if TYPE_CHECKING:
    from awa_lib.doctor.checks import CHECKS, Check
    from awa_lib.doctor.finding import Finding, Severity
    from awa_lib.doctor.limits import Limits

__all__ = ["CHECKS", "Check", "Finding", "Limits", "Severity", "doctor"]

# Loaded on first use: clients import the op alone.
_HOMES: Final = {
    "CHECKS": "checks",
    "Check": "checks",
    "Finding": "finding",
    "Severity": "finding",
    "Limits": "limits",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'awa_lib.doctor' has no attribute {name!r}")
    value = getattr(import_module(f"awa_lib.doctor.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
