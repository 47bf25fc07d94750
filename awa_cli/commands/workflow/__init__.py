"""``awa workflow``: graphs of jobs that wait for each other."""

from __future__ import annotations

from awa_cli.commands.workflow import read, change  # isort: skip - the order of the help
from awa_cli.commands.workflow._app import app

__all__ = ["app", "change", "read"]
