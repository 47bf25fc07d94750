"""Test cases of a Django project, run by test_testing_bridged.py in a process of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import django
import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

import awa_lib as awa

url = conninfo_to_dict(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url["dbname"],
            "USER": url.get("user", ""),
            "HOST": url.get("host", ""),
            "PORT": url.get("port", ""),
        }
    },
    INSTALLED_APPS=["django.contrib.contenttypes"],
)
django.setup()

from asgiref.sync import sync_to_async  # noqa: E402 - after setup()
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import TestCase  # noqa: E402

from awa_lib.testing import (  # noqa: E402
    assert_enqueued,
    assert_not_enqueued,
    drain,
    enqueued,
    inline,
    work_one,
)

jobs = awa.Client("postgresql://nowhere.invalid/none")
worker = awa.AsyncClient("postgresql://nowhere.invalid/none")


@dataclass
class Count:
    label: str


@worker.task(Count)
def count(job: awa.Job[Count]) -> None:
    """See the rows of the test's transaction, in the test's thread."""
    found.append(ContentType.objects.filter(app_label=job.args.label).count())
    job.set_progress(50, "half")
    job.flush_progress_sync()


@worker.task(Count, kind="count_async")
async def count_async(job: awa.Job[Count]) -> None:
    found.append(await ContentType.objects.filter(app_label=job.args.label).acount())
    blocking = sync_to_async(lambda: ContentType.objects.filter(app_label="a").count())
    found.append(await blocking())
    job.set_progress(50, "half")
    await job.flush_progress()


found: list[int] = []


class JobsInTestCase(TestCase):
    def setUp(self) -> None:
        found.clear()
        ContentType.objects.create(app_label="a", model="a")
        self.jobs = jobs.using(connection)
        self.pid = self.backend()

    def tearDown(self) -> None:
        assert self.backend() == self.pid
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
            assert cursor.fetchone() == (0,), "another connection was opened"

    def backend(self) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return cursor.fetchone()[0]

    def test_it_is_seen(self) -> None:
        assert_not_enqueued(self.jobs, Count)
        self.jobs.insert(Count("a"))
        assert_enqueued(self.jobs, Count, count=1)
        assert [job.args for job in enqueued(self.jobs)] == [{"label": "a"}]
        with pytest.raises(AssertionError):
            assert_not_enqueued(self.jobs, Count)

    def test_nothing_is_left_of_another_test(self) -> None:
        assert_not_enqueued(self.jobs, Count)

    def test_a_plain_handler_sees_the_rows(self) -> None:
        job = self.jobs.insert(Count("a"))
        result = work_one(self.jobs, worker=worker)
        assert result.is_completed(), result
        assert found == [1]
        assert self.jobs.get_job(job.id).state == "completed"

    def test_an_async_handler_sees_the_rows(self) -> None:
        self.jobs.insert(Count("a"), kind="count_async")
        assert drain(self.jobs, worker=worker).completed == 1
        assert found == [1, 1]

    def test_inline(self) -> None:
        with inline(self.jobs, worker=worker):
            job = self.jobs.insert(Count("a"))
        assert job.state == "completed"
        assert found == [1]

    def test_migrate_says_what_to_do(self) -> None:
        with pytest.raises(awa.AwaError, match="migrate"):
            self.jobs.migrate()


if __name__ == "__main__":
    import sys
    import unittest

    # The database is the test's own: Django shall not create another.
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(JobsInTestCase)
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    connection.ensure_connection()
    awa.Client.on(connection.connection).migrate()  # as the guide to tests says
    sys.exit(not unittest.TextTestRunner(verbosity=2).run(suite).wasSuccessful())
