"""What goes wrong with a queue on Postgres, and what to do about it.

``doctor`` is one op: looks read frozen rows, checks are pure functions of them.
"""

from awa_lib.doctor.checks import CHECKS, Check, doctor
from awa_lib.doctor.finding import Finding, Severity
from awa_lib.doctor.limits import Limits

__all__ = ["CHECKS", "Check", "Finding", "Limits", "Severity", "doctor"]
