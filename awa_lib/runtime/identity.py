"""Who this process is: host, process id, versions of the toolkit and of the application."""

from __future__ import annotations

import os
import socket
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["app_version", "hostname", "of_errors", "version"]

# Of the table's columns.
_LONGEST: Final = 200


@cache
def version() -> str:
    """Return the version of this distribution, as the fleet's table shows it."""
    try:
        return metadata.version("awa-toolkit")
    except metadata.PackageNotFoundError:
        return "unknown"


def hostname() -> str:
    """Return the name of this host; that of a container is in HOSTNAME."""
    return (os.environ.get("HOSTNAME") or socket.gethostname())[:_LONGEST]


def app_version() -> str | None:
    """Return the version of the application: AWA_APP_VERSION, at most 200 characters."""
    return os.environ.get("AWA_APP_VERSION", "")[:_LONGEST] or None


def of_errors() -> Mapping[str, str]:
    """Return what the error of an attempt says of its worker: ``worker``, and ``app_version``."""
    return _of_errors(os.getpid())


@cache  # by process: a fork has another id
def _of_errors(pid: int) -> Mapping[str, str]:
    of_app = app_version()
    worker = {"worker": f"{hostname()}:{pid}"}
    return worker if of_app is None else {**worker, "app_version": of_app}
