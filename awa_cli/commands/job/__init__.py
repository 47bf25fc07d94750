"""``awa job``: list, show, change and enqueue jobs."""

from __future__ import annotations

from awa_cli.commands.job import read, result, follow, tail, logs, change, enqueue  # isort: skip - the order of the help
from awa_cli.commands.job._app import app

__all__ = ["app", "change", "enqueue", "follow", "logs", "read", "result", "tail"]
