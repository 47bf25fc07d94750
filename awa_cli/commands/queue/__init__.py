"""``awa queue``: list, pause, empty and configure queues."""

from __future__ import annotations

from awa_cli.commands.queue import read, change, limits  # isort: skip - the order of the help
from awa_cli.commands.queue._app import app

__all__ = ["app", "change", "limits", "read"]
