"""Django's test runner, which also makes the tables of awa in the test database."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.test.runner import DiscoverRunner
from orders.jobs import jobs


class Runner(DiscoverRunner):
    def setup_databases(self, **options: Any) -> Any:
        made = super().setup_databases(**options)
        connection.ensure_connection()
        jobs.using(connection.connection).migrate()
        return made
