"""``awa cron``: schedules of periodic jobs."""

from __future__ import annotations

from awa_cli.commands.cron import read, change, files  # isort: skip - the order of the help
from awa_cli.commands.cron._app import app

__all__ = ["app", "change", "files", "read"]
