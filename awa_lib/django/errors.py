"""Errors of tasks that no exception of their own code stands for.

A ``TaskError`` of Django names its exception by an importable path.
"""

from __future__ import annotations

from awa_lib.errors import ResultError

__all__ = ["JobCancelled", "ReturnValueError", "WorkerDied"]


class JobCancelled(Exception):
    """The job of the task was cancelled, by an operator or by the program."""


class WorkerDied(Exception):
    """The worker of an attempt gave no sign of life any more."""


class ReturnValueError(ResultError, TypeError):
    """What a task returned cannot be written as JSON; the task fails at once."""
