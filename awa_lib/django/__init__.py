"""Django: a backend of its tasks on this queue, with a worker, migrations and tests.

``TASKS = {"default": {"BACKEND": "awa_lib.django.AwaBackend"}}``, and ``"awa_lib.django"`` in
``INSTALLED_APPS``.  Needs Django 6.0 or later, or Django 5 with the package django-tasks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from awa_lib.django.backend import AwaBackend
    from awa_lib.django.errors import JobCancelled, ReturnValueError, WorkerDied
    from awa_lib.django.options import AwaTask

__all__ = ["AwaBackend", "AwaTask", "JobCancelled", "ReturnValueError", "WorkerDied"]

# Django imports this package before its apps are ready, and the backend needs its settings.
_HOMES: Final = {
    "AwaBackend": "backend",
    "AwaTask": "options",
    "JobCancelled": "errors",
    "ReturnValueError": "errors",
    "WorkerDied": "errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
