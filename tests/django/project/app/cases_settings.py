"""Checks of the settings, and what the commands say."""

from __future__ import annotations

from io import StringIO

from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, TestCase, TransactionTestCase
from psycopg.conninfo import conninfo_to_dict

from app.api import task_backends
from awa_lib.django import AwaBackend
from awa_lib.django.worker import build, database_url, tasks


def faults(alias="default", **params):
    """Return the ids of what is wrong; a database that it asked would refuse."""
    return [one.id for one in AwaBackend(alias, params).check()]


class Check(SimpleTestCase):
    def test_what_is_right(self):
        for alias in task_backends:
            self.assertEqual(task_backends[alias].check(), [])
        self.assertEqual(faults(OPTIONS={"deadline_seconds": None, "result_ttl": "30d"}), [])

    def test_flags(self):
        backend = task_backends["default"]
        self.assertTrue(backend.supports_defer)
        self.assertTrue(backend.supports_async_task)
        self.assertTrue(backend.supports_get_result)
        self.assertTrue(backend.supports_priority)

    def test_wrong_options(self):
        for options in (
            {"max_attempt": 3},
            {"max_attempts": 0},
            {"max_attempts": "3"},
            {"concurrency": 0},
            {"deadline_seconds": -1},
            {"result_ttl": "soon"},
            {"result_max_bytes": 0},
            {"migrate": "no"},
            {"database": None},
        ):
            with self.subTest(options):
                self.assertEqual(faults(OPTIONS=options), ["awa.E001"])

    def test_the_hint_for_an_unknown_option(self):
        (found,) = AwaBackend("default", {"OPTIONS": {"max_attempt": 3}}).check()

        self.assertIn("unknown option 'max_attempt'", found.msg)
        self.assertIn("max_attempts", found.hint)

    def test_databases(self):
        self.assertEqual(faults(OPTIONS={"database": "third"}), ["awa.E002"])
        self.assertEqual(faults(OPTIONS={"database": "lite"}), ["awa.E003"])

    def test_an_option_of_older_backends(self):
        self.assertEqual(faults(ENQUEUE_ON_COMMIT=False), ["awa.W001"])
        self.assertEqual(faults(OPTIONS={"ENQUEUE_ON_COMMIT": True}), ["awa.W001"])


class Worker(SimpleTestCase):
    databases = ("default", "second")

    def test_its_kinds_are_the_tasks_of_the_apps(self):
        self.assertEqual(tasks()["app.tasks.send"].name, "send")
        self.assertIn("app.tasks.ahold", build()._handlers)

    def test_its_queues_are_those_of_the_backend(self):
        self.assertEqual(sorted(build()._queues), ["default", "mail"])
        self.assertEqual(build("second")._queues["default"]["max_workers"], 2)
        self.assertEqual(build("anywhere")._handlers.queues, ["default"])

    def test_its_database(self):
        parts = conninfo_to_dict(database_url("second"))

        self.assertTrue(parts["dbname"].startswith("test_"))

    def test_it_is_a_program(self):
        with self.assertRaisesMessage(CommandError, "run it as a program"):
            call_command("awa_worker")


class Migrate(TestCase):
    databases = ("default", "second")

    def test_nothing_is_pending(self):
        """The test database was migrated with Django's own tables."""
        out = StringIO()
        call_command("awa_migrate", check=True, stdout=out)

        self.assertEqual(
            out.getvalue(),
            "default: the schema of awa is up to date\nsecond: the schema of awa is up to date\n",
        )

    def test_an_unknown_database_is_named(self):
        with self.assertRaisesMessage(CommandError, "DATABASES has no 'nope'; it has: default"):
            call_command("awa_migrate", database="nope", stdout=StringIO())

    def test_it_does_not_run_in_a_transaction(self):
        with self.assertRaisesMessage(CommandError, "migrations cannot run inside a transaction"):
            call_command("awa_migrate", database="default", stdout=StringIO())


class MigrateAndCommit(TransactionTestCase):
    def test_it_can_be_repeated(self):
        out = StringIO()
        call_command("awa_migrate", database="default", stdout=out)

        self.assertEqual(out.getvalue(), "default: applied 0 migrations of awa\n")
