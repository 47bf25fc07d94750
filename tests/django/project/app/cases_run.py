"""Tasks run, and their results say how."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from app import tasks
from app.api import LOGGER, TaskResultDoesNotExist, TaskResultStatus
from app.cases_enqueue import job_of, jobs
from app.models import Note
from app.watch import signals
from awa_lib.django import AwaBackend, JobCancelled, ReturnValueError
from awa_lib.django.testing import run_tasks
from awa_lib.errors import ResultTooLarge, TerminalError
from awa_lib.testing import travel


class Run(TestCase):
    def one(self):
        (result,) = run_tasks()
        return result

    def retried(self):
        """Run a task whose first attempt has failed again."""
        travel(jobs(), 3600)
        return self.one()

    def test_success(self):
        enqueued = tasks.add.enqueue(1, b=2)
        result = self.one()

        self.assertEqual(result.status, TaskResultStatus.SUCCESSFUL)
        self.assertEqual((result.return_value, result.is_finished), (3, True))
        self.assertEqual((result.errors, result.attempts), ([], 1))
        self.assertEqual(len(result.worker_ids), 1)
        self.assertLessEqual(result.enqueued_at, result.started_at)
        self.assertEqual(result.started_at, result.last_attempted_at)
        self.assertLessEqual(result.started_at, result.finished_at)
        self.assertLess(timezone.now() - result.finished_at, timedelta(minutes=1))
        enqueued.refresh()
        self.assertEqual(enqueued, result)
        self.assertEqual(enqueued.return_value, 3)

    def test_an_async_task(self):
        tasks.aadd.enqueue(1, b=2)

        self.assertEqual(self.one().return_value, 3)

    def test_none_is_a_return_value(self):
        tasks.send.enqueue(None)

        self.assertIsNone(self.one().return_value)

    def test_context(self):
        result = tasks.look.enqueue("word")

        self.assertEqual(self.one().return_value, ["word", 1, result.id, "RUNNING", 0, 1])
        tasks.alook.enqueue()
        self.assertEqual(self.one().return_value, [1, "RUNNING"])

    def test_the_orm_sees_the_rows_of_the_test(self):
        Note.objects.create(text="of the test")
        tasks.note.enqueue("of a task")
        tasks.anote.enqueue("of an async task")

        self.assertEqual([one.return_value for one in run_tasks()], [2, 3])
        self.assertEqual(Note.objects.count(), 3)

    def test_nothing_is_left_of_another_test(self):
        self.assertEqual((run_tasks(), Note.objects.count()), ([], 0))

    def test_the_connection_stays(self):
        mine = tasks.backend_pid()
        tasks.pid.enqueue()

        self.assertEqual(self.one().return_value, mine)
        self.assertEqual(tasks.backend_pid(), mine)

    def test_a_task_of_a_task_is_run_too(self):
        tasks.enqueue_another.enqueue(5)
        first, second = run_tasks()

        self.assertEqual((first.return_value, second.return_value), (second.id, 5))

    def test_one_queue(self):
        tasks.add.enqueue(1)
        tasks.send.enqueue("ada")

        self.assertEqual([one.return_value for one in run_tasks(queue="mail")], ["ada"])

    def test_order(self):
        for priority in (-100, 0, 100):
            tasks.add.using(priority=priority).enqueue(priority)

        self.assertEqual([one.return_value for one in run_tasks()], [100, 0, -100])

    def test_a_failure_is_tried_again(self):
        for task, name in ((tasks.fail, "fail"), (tasks.afail, "afail")):
            with self.subTest(name):
                task.enqueue("a reason")
                result = self.one()

                self.assertEqual(result.status, TaskResultStatus.READY)
                self.assertEqual((result.attempts, len(result.errors)), (1, 1))
                self.assertIsNone(result.finished_at)
                with self.assertRaisesMessage(ValueError, "not finished"):
                    result.return_value
                (error,) = result.errors
                self.assertIs(error.exception_class, ValueError)
                self.assertTrue(error.traceback.startswith("Traceback (most recent call last):\n"))
                self.assertTrue(error.traceback.endswith("ValueError: a reason\n"))
                self.assertIn(f"in {name}\n", error.traceback)

                result = self.retried()

                self.assertEqual(result.status, TaskResultStatus.FAILED)
                self.assertEqual((result.attempts, len(result.errors)), (2, 2))
                self.assertIsNotNone(result.finished_at)
                self.assertLess(result.started_at, result.last_attempted_at + timedelta(seconds=1))
                with self.assertRaisesMessage(ValueError, "Task failed"):
                    result.return_value

    def test_an_error_stays_after_a_success(self):
        tasks.fail_first.enqueue()
        self.one()
        result = self.retried()

        self.assertEqual(result.status, TaskResultStatus.SUCCESSFUL)
        self.assertEqual(result.return_value, "builtins.KeyError")
        self.assertEqual([one.exception_class for one in result.errors], [KeyError])
        self.assertEqual(result.attempts, 2)

    def test_an_error_that_no_retry_would_mend(self):
        tasks.give_up.enqueue()
        result = self.one()

        self.assertEqual(result.status, TaskResultStatus.FAILED)
        self.assertIs(result.errors[0].exception_class, TerminalError)

    def test_a_missing_argument(self):
        tasks.add.enqueue()
        result = self.one()

        self.assertIs(result.errors[0].exception_class, TypeError)
        self.assertIn("missing 1 required positional argument", result.errors[0].traceback)

    def test_what_ends_a_program_fails_a_task(self):
        for task, kind in ((tasks.interrupted, KeyboardInterrupt), (tasks.leave, SystemExit)):
            task.enqueue()

            self.assertIs(self.one().errors[0].exception_class, kind)

    def test_a_return_value_that_is_no_json(self):
        for task, kind in ((tasks.strange, ReturnValueError), (tasks.large, ResultTooLarge)):
            with signals() as heard:
                task.enqueue()
                result = self.one()

            self.assertEqual(result.status, TaskResultStatus.FAILED)
            self.assertEqual([one.exception_class for one in result.errors], [kind])
            self.assertEqual(heard[-1], ("finished", AwaBackend, "FAILED"))
        self.assertTrue(issubclass(ReturnValueError, TypeError))

    def test_signals_and_logs(self):
        for task in (tasks.add, tasks.aadd):
            with signals() as heard, self.assertLogs(LOGGER, "DEBUG") as logs:
                task.enqueue(1)
                self.one()

            self.assertEqual(
                heard,
                [
                    ("enqueued", AwaBackend, "READY"),
                    ("started", AwaBackend, "RUNNING"),
                    ("finished", AwaBackend, "SUCCESSFUL"),
                ],
            )
            self.assertEqual(len(logs.records), 3)

    def test_signals_of_retries(self):
        """Each attempt begins, and the task ends once; the log has the exception."""
        for task in (tasks.fail, tasks.afail):
            with signals() as heard:
                task.enqueue("a reason")
                self.one()
                with self.assertLogs(LOGGER, "INFO") as logs:
                    self.retried()

            self.assertEqual(
                [(name, status) for name, _, status in heard],
                [
                    ("enqueued", "READY"),
                    ("started", "RUNNING"),
                    ("started", "RUNNING"),
                    ("finished", "FAILED"),
                ],
            )
            self.assertIn("ValueError: a reason", logs.output[-1])

    def test_a_receiver_that_fails_fails_no_task(self):
        from app.api import task_started

        def receive(**_):
            raise RuntimeError("of the receiver")

        task_started.connect(receive)
        self.addCleanup(task_started.disconnect, receive)
        tasks.add.enqueue(1)
        with self.assertLogs("django.dispatch", "ERROR"):
            self.assertEqual(self.one().return_value, 1)

    def test_cancel(self):
        result = tasks.add.enqueue(1)
        jobs().cancel(int(result.id))
        result.refresh()

        self.assertEqual(result.status, TaskResultStatus.FAILED)
        self.assertEqual([one.exception_class for one in result.errors], [JobCancelled])
        self.assertIsNotNone(result.finished_at)
        self.assertEqual(run_tasks(), [])

    def test_a_dead_letter_is_a_result(self):
        result = tasks.give_up.enqueue()
        self.one()
        jobs().move_failed_to_dlq(int(result.id), "by hand")
        result.refresh()

        self.assertEqual((jobs().dlq_depth(), result.status), (1, TaskResultStatus.FAILED))
        self.assertIs(result.errors[0].exception_class, TerminalError)

    def test_retention(self):
        result = tasks.add.enqueue(1)
        self.one()
        jobs().discard(int(result.id))

        with self.assertRaises(TaskResultDoesNotExist):
            result.refresh()

    def test_a_return_value_that_has_expired(self):
        result = tasks.add.enqueue(1)
        self.one()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE awa.job_results SET expires_at = now() - interval '1 second'")

        with self.assertRaisesMessage(TaskResultDoesNotExist, "is not kept any more"):
            result.refresh()

    def test_what_awa_keeps_of_an_error_that_no_task_raised(self):
        """Its own form has the message first, and the end of the traceback."""
        text = 'ValueError: no\n  File "/a.py", line 1, in f\n    f()'
        result = tasks.add.enqueue(1)
        self.one()
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE awa.jobs_hot SET state = 'failed', errors = ARRAY[jsonb_build_object("
                "'error', %s::text, 'type', 'builtins.ValueError'), "
                '\'{"error": "hard deadline exceeded"}\', \'{"error": "other"}\']',
                [text],
            )
        result.refresh()

        self.assertEqual(
            [one.exception_class.__name__ for one in result.errors],
            ["ValueError", "TimeoutError", "AwaError"],
        )
        self.assertEqual(
            result.errors[0].traceback,
            'Traceback (most recent call last):\n  File "/a.py", line 1, in f\n    f()\n'
            "ValueError: no\n",
        )

    def test_the_whole_traceback_is_kept_beside_the_short_one(self):
        result = tasks.fail.enqueue("a reason")
        self.one()
        (entry,) = job_of(result).errors

        self.assertTrue(entry["error"].startswith("ValueError: a reason\n"))
        self.assertTrue(entry["traceback"].startswith("Traceback"))


class RunAndCommit(TransactionTestCase):
    def test_outside_a_transaction(self):
        tasks.note.enqueue("a")
        tasks.anote.enqueue("b")

        self.assertEqual([one.return_value for one in run_tasks()], [1, 2])
        self.assertEqual(Note.objects.count(), 2)
        for job in jobs().list_jobs():
            jobs().discard(job.id)
