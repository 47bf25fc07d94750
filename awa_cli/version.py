"""The version of the installed distribution."""

from __future__ import annotations

__all__ = ["version"]


def version() -> str:
    """Return the version of the installed distribution."""
    from importlib.metadata import version

    return version("awa-toolkit")
