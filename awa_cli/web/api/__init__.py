"""The REST API: a module for each noun, a function for each endpoint."""

from __future__ import annotations

from awa_cli.web.api import (
    bulk_operations,
    callbacks,
    cron,
    dead_letters,
    doctor,
    failures,
    jobs,
    overview,
    queues,
    workers,
    workflows,
)
from awa_cli.web.endpoints import Table

__all__ = ["callback_table", "table"]


def table() -> Table:
    """Return the table of all endpoints."""
    nouns = (
        overview,
        jobs,
        queues,
        workers,
        cron,
        dead_letters,
        failures,
        bulk_operations,
        workflows,
        doctor,
        callbacks,
    )
    return Table(endpoint for noun in nouns for endpoint in noun.routes.endpoints)


def callback_table() -> Table:
    """Return the table of callback endpoints only, for a server that outside systems reach."""
    return Table(callbacks.routes.endpoints)
