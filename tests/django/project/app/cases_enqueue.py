"""Tasks are enqueued, checked and found again."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from unittest import skipIf
from uuid import uuid4

import django
from django.conf import settings
from django.db import connection, connections, transaction
from django.test import TestCase, override_settings
from django.utils import timezone

import awa_lib as awa
from app import tasks
from app.api import (
    LOGGER,
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task,
    task_backends,
)
from app.watch import signals
from awa_lib.django import AwaBackend
from awa_lib.django.testing import run_tasks

LATER = datetime(2099, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def jobs(alias="default"):
    return awa.Client.on(connections[alias])


def job_of(result, alias="default"):
    return jobs(alias).get_job(int(result.id))


class Enqueue(TestCase):
    databases = ("default", "second")

    def test_a_result_is_ready(self):
        result = tasks.add.enqueue(1, b=2)

        self.assertEqual(result.status, TaskResultStatus.READY)
        self.assertEqual((result.args, result.kwargs), ([1], {"b": 2}))
        self.assertEqual(result.task, tasks.add)
        self.assertEqual(result.backend, "default")
        self.assertIsInstance(result.id, str)
        self.assertLess(abs(timezone.now() - result.enqueued_at), timedelta(minutes=1))
        self.assertIsNone(result.started_at)
        self.assertIsNone(result.last_attempted_at)
        self.assertIsNone(result.finished_at)
        self.assertEqual((result.errors, result.worker_ids, result.attempts), ([], [], 0))
        self.assertFalse(result.is_finished)
        with self.assertRaisesMessage(ValueError, "Task has not finished yet"):
            result.return_value

    async def test_async(self):
        result = await tasks.add.aenqueue(1, b=2)
        again = await tasks.add.aget_result(result.id)

        self.assertEqual(again, result)
        await result.arefresh()
        self.assertEqual(result.status, TaskResultStatus.READY)

    def test_the_job(self):
        job = job_of(tasks.send.enqueue("ada"))

        self.assertEqual(job.kind, "app.tasks.send")
        self.assertEqual(job.queue, "mail")
        self.assertEqual(job.priority, 1)
        self.assertEqual(job.max_attempts, 2)
        self.assertEqual(job.args, {"args": ["ada"], "kwargs": {}})
        self.assertEqual(job.state, "available")

    def test_a_stored_result_equals_that_of_enqueue(self):
        result = tasks.send.using(run_after=LATER, priority=-7).enqueue("ada")
        found = tasks.send.get_result(result.id)

        self.assertEqual(found, result)
        self.assertEqual(found.task, tasks.send.using(run_after=LATER, priority=-7))
        self.assertNotEqual(found.task, tasks.send)

    def test_using(self):
        for name, value in (
            ("priority", 7),
            ("queue_name", "mail"),
            ("run_after", LATER),
            ("backend", "anywhere"),
            ("max_attempts", 5),
        ):
            with self.subTest(name):
                other = tasks.add.using(**{name: value})
                result = other.enqueue(1)

                self.assertEqual(getattr(other, name), value)
                self.assertNotEqual(other, tasks.add)
                self.assertEqual(other.func, tasks.add.func)
                self.assertEqual(result.task, other)
                self.assertEqual(other.get_result(result.id).task, other)
        self.assertEqual(tasks.add.priority, 0)
        self.assertIsNone(tasks.add.max_attempts)

    def test_priorities(self):
        for priority, level in (
            (100, 1), (34, 1), (33, 2), (0, 2), (-33, 2), (-34, 3), (-66, 3), (-67, 4), (-100, 4),
        ):  # fmt: skip
            result = tasks.add.using(priority=priority).enqueue(1)

            self.assertEqual(job_of(result).priority, level)
            self.assertEqual(tasks.add.get_result(result.id).task.priority, priority)

    def test_what_is_no_priority(self):
        for priority in (101, -101, 1.5):
            with self.assertRaises(InvalidTask):
                tasks.add.using(priority=priority)

    def test_attempts(self):
        self.assertEqual(job_of(tasks.add.using(max_attempts=7).enqueue(1)).max_attempts, 7)
        self.assertEqual(job_of(tasks.add.using(backend="anywhere").enqueue(1)).max_attempts, 25)
        for wrong in (0, 1001, 1.5, True):
            with self.assertRaises(InvalidTask):
                tasks.add.using(max_attempts=wrong)

    def test_queues(self):
        with self.assertRaises(InvalidTask):
            tasks.add.using(queue_name="nobody's")
        result = tasks.add.using(backend="anywhere").using(queue_name="nobody's").enqueue(1)

        self.assertEqual(job_of(result).queue, "nobody's")

    def test_run_after(self):
        result = tasks.add.using(run_after=LATER).enqueue(1)
        job = job_of(result)

        self.assertEqual((job.state, datetime.fromisoformat(job.run_at)), ("scheduled", LATER))
        self.assertEqual(tasks.add.get_result(result.id).status, TaskResultStatus.READY)
        self.assertEqual(run_tasks(), [])
        with self.assertRaises(InvalidTask):
            tasks.add.using(run_after=datetime(2099, 1, 1))

    def test_without_time_zones(self):
        naive = datetime(2099, 1, 1, 12)
        with self.settings(USE_TZ=False):
            result = tasks.add.using(run_after=naive).enqueue(1)
            found = tasks.add.get_result(result.id)

            self.assertTrue(timezone.is_naive(result.enqueued_at))
            self.assertEqual(found, result)
        self.assertEqual(job_of(result).run_at, "2099-01-01T11:00:00+00:00")

    def test_functions_that_are_no_tasks(self):
        def inner():
            pass

        with self.assertRaises(InvalidTask):
            task(inner)
        with self.assertRaises(InvalidTask):
            task(takes_context=True)(tasks.add.func)

    def test_values_of_json(self):
        result = tasks.echo.enqueue((1, 2.5), {1: None, "é": [True]}, a=b"utf-8 \xc3\xa9")
        expected = [[[1, 2.5], {"1": None, "é": [True]}], {"a": "utf-8 é"}]

        self.assertEqual([result.args, result.kwargs], expected)
        self.assertEqual(tasks.echo.get_result(result.id), result)
        (ran,) = run_tasks()
        self.assertEqual(ran.return_value, expected)

    def test_values_that_are_refused(self):
        before = len(jobs().list_jobs())
        for value in (object(), {1}, datetime.now(tz=UTC), Decimal(1), uuid4(), tasks.add):
            with self.assertRaises(TypeError):
                tasks.echo.enqueue(value)
            with self.assertRaises(TypeError):
                tasks.echo.enqueue(value=[value])
        around = []
        around.append(around)
        for value in (b"\xff", around):
            with self.assertRaises(ValueError):
                tasks.echo.enqueue(value)
        self.assertEqual(len(jobs().list_jobs()), before)

    def test_values_that_postgresql_cannot_hold(self):
        before = len(jobs().list_jobs())
        for value, said in (
            (float("nan"), "NaN cannot be stored"),
            (float("inf"), "Infinity cannot be stored"),
            ("a\0b", "NUL character"),
            ("\ud800", "lone surrogate"),
            (2**70, "does not fit 64"),
        ):
            with self.assertRaisesRegex(ValueError, said):
                tasks.echo.enqueue({"deep": [value]})
        self.assertEqual(len(jobs().list_jobs()), before)

    def test_ids_of_nothing(self):
        foreign = jobs().insert({"n": 1}, kind="app.tasks.add")
        elsewhere = tasks.add.using(backend="anywhere").enqueue(1)
        for text in (
            "0", "-1", "007", " 7", "1_0", "x", "", "٣", "9" * 19, "9" * 5000, "99999999",
            str(foreign.id), elsewhere.id, str(uuid4()),
        ):  # fmt: skip
            with self.assertRaises(TaskResultDoesNotExist, msg=text):
                task_backends["default"].get_result(text)

    async def test_async_ids_of_nothing(self):
        with self.assertRaises(TaskResultDoesNotExist):
            await task_backends["default"].aget_result("0")

    def test_a_result_of_another_task(self):
        result = tasks.add.enqueue(1)
        with self.assertRaises(TaskResultMismatch):
            tasks.send.get_result(result.id)

    def test_a_rollback_takes_the_task_back(self):
        with transaction.atomic():
            result = tasks.add.enqueue(1)
            self.assertEqual(tasks.add.get_result(result.id), result)
            transaction.set_rollback(True)

        with self.assertRaises(TaskResultDoesNotExist):
            tasks.add.get_result(result.id)

    def test_a_block_that_can_only_roll_back_takes_no_task(self):
        with transaction.atomic():
            transaction.set_rollback(True)
            with self.assertRaisesRegex(awa.AwaError, "can only be rolled back"):
                tasks.add.enqueue(1)

        self.assertEqual(jobs().list_jobs(), [])

    def test_settings_that_have_changed_since(self):
        result = tasks.send.enqueue("ada")
        later = tasks.add.using(run_after=LATER).enqueue(1)
        changed = {**settings.TASKS, "default": {**settings.TASKS["default"], "QUEUES": ["new"]}}
        with override_settings(TASKS=changed):
            found = tasks.send.get_result(result.id)
            (ran,) = run_tasks(queue="mail")
            with override_settings(USE_TZ=False):
                self.assertEqual(tasks.add.get_result(later.id).status, TaskResultStatus.READY)

        self.assertEqual(found.task, result.task)
        self.assertEqual(ran.return_value, "ada")

    def test_on_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            transaction.on_commit(partial(tasks.add.enqueue, 1))
            self.assertEqual(jobs().list_jobs(), [])

        self.assertEqual(len(jobs().list_jobs()), 1)

    def test_a_second_database(self):
        other = tasks.add.using(backend="second")
        with transaction.atomic():
            result = other.enqueue(1, b=2)
            transaction.set_rollback(True)  # of the default database, which has no part in it

        self.assertEqual(job_of(result, "second").state, "available")
        self.assertEqual(jobs().list_jobs(), [])
        self.assertEqual([one.return_value for one in run_tasks(backend="second")], [3])

    def test_signal_and_log(self):
        with signals() as heard, self.assertLogs(LOGGER, "DEBUG") as logs:
            tasks.add.enqueue(1)

        self.assertEqual(heard, [("enqueued", AwaBackend, "READY")])
        self.assertIn("enqueued", logs.output[0])

    def test_the_connection_is_djangos(self):
        with self.assertNumQueries(0):  # those of awa do not pass through Django's cursors
            tasks.add.enqueue(1)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM awa.jobs")

            self.assertEqual(cursor.fetchone(), (1,))

    @skipIf(django.VERSION < (6, 1), "the decorator takes no other options")
    def test_attempts_in_the_decorator(self):
        self.assertEqual(task(max_attempts=9)(tasks.add.func).max_attempts, 9)

    @skipIf(django.VERSION < (6, 1), "tasks cannot be pickled")
    def test_pickle(self):
        self.assertEqual(pickle.loads(pickle.dumps(tasks.add)), tasks.add)
