"""Wrong options of every verb: the sentence the caller gets, and that nothing is written.

One line an option; ``test_every_option_is_in_the_table`` sees to it that none is missing.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import awa_lib as awa

NOBODY = "00000000-0000-0000-0000-000000000000"
SECRET = b"k" * 32
TOO_LONG = "x" * 201

# What each verb is called with where the option under test is another one.
CALLS: dict[str, dict[str, Any]] = {
    "insert": {"args": {"a": 1}, "kind": "k"},
    "insert_many": {"jobs": [{"a": 1}], "kind": "k"},
    "insert_many_copy": {"jobs": [{"a": 1}], "kind": "k"},
    "enqueue_many_copy": {"jobs": [{"a": 1}], "kind": "k"},
    "enqueue": {"args": {"a": 1}, "kind": "k"},
    "get_job": {"job_id": 1},
    "get_job_logs": {"job_id": 1},
    "list_jobs": {},
    "result": {"job": 1},
    "retry": {"job_id": 1},
    "cancel": {"job_id": 1},
    "set_priority": {"job_id": 1, "priority": 1},
    "move_queue": {"job_id": 1, "to_queue": "q"},
    "cancel_by_unique_key": {"kind": "k"},
    "retry_failed": {"kind": "k"},
    "discard": {"job_id": 1},
    "discard_failed": {"kind": "k"},
    "pause_queue": {"queue": "q"},
    "resume_queue": {"queue": "q"},
    "cancel_waiting": {"queue": "q"},
    "drain_queue": {"queue": "q"},
    "complete_external": {"callback_id": NOBODY},
    "fail_external": {"callback_id": NOBODY, "error": "e"},
    "retry_external": {"callback_id": NOBODY},
    "resume_external": {"callback_id": NOBODY},
    "heartbeat_callback": {"callback_id": NOBODY},
    "resolve_callback": {"callback_id": NOBODY},
    "verify_callback_request": {
        "secret": SECRET, "callback_id": NOBODY, "action": "fail", "body": b"", "signature": "s",
    },
    "list_cron_jobs": {},
    "trigger_cron_job": {"name": "n"},
    "pause_cron_job": {"name": "n"},
    "resume_cron_job": {"name": "n"},
    "delete_cron_job": {"name": "n"},
    "set_queue_policy": {"queue": "q", "max_running": 1},
    "get_queue_policy": {"queue": "q"},
    "list_queue_policies": {},
    "set_dead_letters": {"queue": "q", "enabled": True},
    "list_dlq": {},
    "list_failures": {},
    "get_failure": {"failure_id": "f"},
    "retry_failure": {"failure_id": "f"},
    "mute_failure": {"failure_id": "f"},
    "unmute_failure": {"failure_id": "f"},
    "get_dlq_job": {"job_id": 1},
    "dlq_depth": {},
    "retry_from_dlq": {"job_id": 1},
    "bulk_retry_from_dlq": {"kind": "k"},
    "move_failed_to_dlq": {"job_id": 1},
    "bulk_move_failed_to_dlq": {"kind": "k"},
    "purge_dlq_job": {"job_id": 1},
    "purge_dlq": {"kind": "k"},
    "preview_bulk_operation": {"operation": "retry", "kind": "k"},
    "submit_bulk_operation": {"operation": "retry", "kind": "k"},
    "get_bulk_operation": {"operation_id": NOBODY},
    "list_bulk_operations": {},
    "cancel_bulk_operation": {"operation_id": NOBODY},
    "run_bulk_operation": {"operation_id": NOBODY},
    "task_result": {"workflow_id": 1, "name": "n"},
    "task_results": {"workflow_id": 1, "name": "n"},
    "list_workflows": {},
    "get_workflow": {"workflow_id": 1},
    "list_workflow_tasks": {"workflow_id": 1},
    "workflow_edges": {"workflow_id": 1},
    "signal": {"workflow_id": 1, "name": "n"},
    "cancel_workflow": {"workflow_id": 1},
    "retry_workflow": {"workflow_id": 1},
    "doctor": {},
}  # fmt: skip

INT64 = "must be a whole number of at most 64 bits: "
NAME = "must be text of at most 200 characters: "
NOT_STORED = "holds a character that Postgres cannot store: "

NAMES = [(7, NAME + "7"), (TOO_LONG, NAME), ("a\x00", NOT_STORED), ("\ud800", NOT_STORED)]
IDS = [("7", INT64 + "'7'"), (1.5, INT64 + "1.5"), (True, INT64 + "True"), (2**63, INT64),
       (None, INT64 + "None")]  # fmt: skip
CALLBACK_IDS = [("zz", "invalid callback id: 'zz' is not a UUID"),
                (7, "invalid callback id: 7 is not a UUID")]  # fmt: skip
UUIDS = [("zz", "a bulk operation's id must be a UUID, got 'zz'"),
         (7, "a bulk operation's id must be a UUID, got 7")]  # fmt: skip
PAYLOADS = [(object(), "payload: "), ([float("nan")], "payload[0]: NaN")]
ALL = [("yes", "all must be True or False, got 'yes'"),
       (1, "all must be True or False, got 1")]  # fmt: skip
LIMITS = [(-1, "limit must be a whole number from 0 to 2147483647: -1"), ("5", "limit must be"),
          (2**31, "limit must be"), (1.5, "limit must be")]  # fmt: skip
PRIORITIES = [(0, "priority must be a whole number from 1 to 4: 0"), (5, "priority must be"),
              ("1", "priority must be"), (True, "priority must be"),
              (1.0, "priority must be")]  # fmt: skip
MOMENTS = [("soon", "must be a datetime or RFC 3339 text: 'soon'"), (5, "must be a datetime"),
           ("2030-02-31T00:00:00Z", "must be a datetime")]  # fmt: skip
SINCE = [("soon", "must be a datetime or RFC 3339 text: 'soon'"), (5, "must be a datetime")]
DURATIONS = [("soon", "delay must be a time of 0 s to 100 years: 'soon'"), (-1, "delay must be"),
             (True, "delay must be"), (float("nan"), "delay must be")]  # fmt: skip
FILTERS = {
    "kind": NAMES,
    "queue": NAMES,
    "tag": NAMES,
    "colour": [("red", "unknown filter 'colour'")],
}
JOB_FILTERS = {
    **FILTERS,
    "state": [("zz", "unknown job state: zz"), (7, "unknown job state: 7")],
    "created_after": MOMENTS,
    "created_before": MOMENTS,
    "args": [(7, "args must be"), ({"a": object()}, "args.a")],
    "error": [("", "error must be a part of an error's text"), (7, "error must be text"),
              ("a\x00", NOT_STORED)],
}  # fmt: skip
NEW_JOB = {
    "kind": [("", "kind must be 1 to 200 characters of text"), (TOO_LONG, "kind must be"),
             (7, "kind must be"), ("a\x00", "kind must be"), ("\ud800", NOT_STORED)],
    "queue": [*NAMES, (None, NAME + "None")],
    "priority": PRIORITIES,
    "max_attempts": [(0, "max_attempts must be a whole number from 1 to 1000: 0"),
                     (1001, "max_attempts must be"), ("3", "max_attempts must be")],
    "tags": [("abc", "tags must be a list of texts: 'abc'"), (["x"] * 21, "tags must be at most 20"),
             ([1], "tags must be texts"), (["a\x00"], "tags must be texts")],
    "metadata": [([1], "metadata must be"), ({"a": float("inf")}, "metadata.a: Infinity"),
                 ({1: 2}, "metadata")],
    "run_at": MOMENTS,
    "delay": DURATIONS,
    "unique": [({"by_args": True}, "unique must be an awa_lib.Unique, got dict"),
               (awa.Unique(by="arg"), "a job is unique by ('kind', 'args', 'queue'), not by 'arg'"),
               (awa.Unique(period=0.5), "period must be a time of 1 s to 100 years")],
    "unique_opts": [(7, "unique_opts must be a dict, got int"),
                    ({"by_arg": True}, "unknown unique_opts key 'by_arg'"),
                    ({"by_period": 1.5}, "by_period " + INT64),
                    ({"states": 256}, "states must be a mask of 0 to 255, got 256"),
                    ({"by_queue": 1}, "by_queue must be True or False, got 1")],
    "concurrency_key": [("", "concurrency_key must not be empty"), (TOO_LONG, NAME), (7, NAME)],
}  # fmt: skip
ARGS = [(7, "Job args must be a dataclass, pydantic BaseModel, or dict"), (None, "Job args must"),
        ({"a": float("nan")}, "args.a: NaN"), ({"a": [object()]}, "args.a[0]"),
        ({1: 2}, "args"), ({"a": "\x00"}, "args.a: text with a NUL")]  # fmt: skip
JOBS = [(None, "jobs must be a list, or another iterable: None"), ("abc", "jobs must be a list"),
        ({"a": 1}, "jobs must be a list"), ([7], "Job args must be"),
        ([{"a": 1}, awa.NewJob({"a": 1}, priority=9)], "priority must be")]  # fmt: skip
CONFLICTS = [("ignore", "on_conflict must be one of"), (None, "on_conflict must be one of"),
             ("skip", "on_conflict='skip' needs a unique key")]  # fmt: skip
COUNTS = ("max_running", "max_running_per_key", "poll_interval_ms", "claim_batch")
SECONDS = ("deadline_seconds", "completed_retention_hours", "failed_retention_hours")

TABLE: dict[str, dict[str, list[tuple[Any, str]]]] = {
    "insert": {"args": ARGS, **NEW_JOB, "on_conflict": CONFLICTS,
               "debounce": [(-1, "debounce must be a time of 0 s to 100 years")],
               "max_wait": [(5, "debounce must be a time of 0 s to 100 years: None")]},
    "insert_many": {"jobs": JOBS, **NEW_JOB, "on_conflict": CONFLICTS},
    "insert_many_copy": {"jobs": JOBS, **NEW_JOB, "on_conflict": CONFLICTS},
    "enqueue_many_copy": {
        "jobs": JOBS, **NEW_JOB, "on_conflict": CONFLICTS,
        "on_progress": [(7, "on_progress must be a function, got 7")],
    },
    "enqueue": {"args": ARGS, **NEW_JOB},
    "get_job": {"job_id": IDS},
    "get_job_logs": {
        "job_id": IDS,
        "attempt": [(-1, "attempt must be a whole number from 0 to"), ("1", "attempt must be")],
    },
    "list_jobs": {
        "state": JOB_FILTERS["state"], "kind": NAMES, "queue": NAMES, "tag": NAMES,
        "limit": LIMITS, "before_id": IDS[:-1],
    },
    "retry": {"job_id": IDS, "from_step": [(7, NAME + "7"), ("", "must not be empty")]},
    "cancel": {"job_id": IDS},
    "set_priority": {"job_id": IDS, "priority": PRIORITIES},
    "move_queue": {"job_id": IDS, "to_queue": [*NAMES, ("", "to_queue must not be empty")]},
    "cancel_by_unique_key": {
        "kind": NAMES, "queue": NAMES, "args": ARGS[:1] + ARGS[2:], "period_bucket": IDS[:-1],
    },
    "retry_failed": {"kind": NAMES, "queue": [("q", "Specify exactly one of kind or queue")]},
    "discard": {"job_id": IDS},
    "discard_failed": {"kind": NAMES},
    "pause_queue": {"queue": NAMES, "paused_by": NAMES},
    "resume_queue": {"queue": NAMES},
    "cancel_waiting": {"queue": NAMES},
    "drain_queue": {"queue": NAMES},
    "complete_external": {"callback_id": CALLBACK_IDS, "payload": PAYLOADS},
    "fail_external": {
        "callback_id": CALLBACK_IDS,
        "error": [(7, "error must be text, got int"), ("a\x00", "error: text with a NUL")],
    },
    "retry_external": {"callback_id": CALLBACK_IDS},
    "resume_external": {"callback_id": CALLBACK_IDS, "payload": PAYLOADS},
    "heartbeat_callback": {
        "callback_id": CALLBACK_IDS,
        "timeout_seconds": [(-1, "timeout_seconds must not be negative or NaN, got -1"),
                            (float("nan"), "timeout_seconds must not be"),
                            ("5", "timeout_seconds must be a number, got '5'")],
    },
    "resolve_callback": {
        "callback_id": CALLBACK_IDS, "payload": PAYLOADS,
        "default_action": [("zz", "default_action must be one of"), (None, "default_action must")],
    },
    "verify_callback_request": {
        "secret": [("zz", "the callback secret is not 64 hex digits"),
                   (b"k", "the callback secret must be 32 bytes"), (None, "secret must be")],
        "callback_id": [(7, "callback_id must be text: 7")],
        "action": [(7, "action must be text: 7")],
        "body": [("text", "body must be bytes, got str"), (None, "body must be bytes")],
        "signature": [],  # a wrong one is False, not an error
    },
    "list_cron_jobs": {"name": NAMES},
    "trigger_cron_job": {"name": [*NAMES, ("", "name must not be empty")]},
    "pause_cron_job": {"name": NAMES, "paused_by": NAMES},
    "resume_cron_job": {"name": NAMES},
    "delete_cron_job": {"name": NAMES},
    "set_queue_policy": {
        "queue": [*NAMES, ("", "queue must not be empty")],
        **{one: [(-1, f"{one} must be a whole number from"), ("5", f"{one} must be a whole"),
                 (1.5, f"{one} must be a whole")] for one in COUNTS},
        **{one: [(-1, f"{one} must be a number of at least 0: -1"), ("5", f"{one} must be a num"),
                 (float("nan"), f"{one} must be a number")] for one in SECONDS},
        "rate_limit": [(5, "rate_limit must be a (max_rate, burst) pair: 5"),
                       ((0, 1), "rate_limit max_rate must be more than 0"),
                       ((1, -1), "rate_limit burst must be"), (("x", 1), "rate_limit max_rate")],
        "max_runing": [(1, "unknown queue setting 'max_runing'")],
    },
    "get_queue_policy": {"queue": NAMES},
    "list_queue_policies": {
        "queues": [("abc", "queues must be a list, or another iterable: 'abc'"),
                   ([7], "a name in queues " + NAME + "7")],
    },
    "set_dead_letters": {
        "queue": NAMES, "enabled": [("yes", "enabled must be True or False, got 'yes'")],
    },
    "result": {
        "job": [("7", "job must be"), (2**63, "job must be")],
        "into": [(7, "into must be a type, got 7"), ("int", "into must be a type, got 'int'")],
        "timeout": [(-1, "timeout must be a time of 0 s to 100 years: -1"), ("x", "timeout must")],
    },
    "list_failures": {
        "since": SINCE, "queue": NAMES, "kind": NAMES, "limit": LIMITS,
        "muted": [(1, "muted must be True or False, got 1")],
    },
    "get_failure": {"failure_id": NAMES, "since": SINCE},
    "retry_failure": {"failure_id": NAMES},
    "mute_failure": {"failure_id": NAMES, "until": SINCE},
    "unmute_failure": {"failure_id": NAMES},
    "list_dlq": {"before_id": IDS[:-1], "limit": LIMITS, **FILTERS},
    "get_dlq_job": {"job_id": IDS},
    "dlq_depth": {"queue": NAMES},
    "retry_from_dlq": {
        "job_id": IDS, "run_at": MOMENTS, "priority": PRIORITIES, "queue": NAMES,
    },
    "bulk_retry_from_dlq": {"all": ALL, **FILTERS},
    "move_failed_to_dlq": {"job_id": IDS, "reason": [("", "reason must not be empty"),
                                                     (7, "reason must be text")]},
    "bulk_move_failed_to_dlq": {"all": ALL, **FILTERS, "reason": [(7, "reason must be text")]},
    "purge_dlq_job": {"job_id": IDS},
    "purge_dlq": {"all": ALL, **FILTERS},
    "preview_bulk_operation": {
        "operation": [("zap", "unknown bulk operation 'zap'"), (7, "unknown bulk operation 7")],
        "all": ALL, **JOB_FILTERS,
    },
    "submit_bulk_operation": {
        "operation": [("zap", "unknown bulk operation 'zap'"),
                      ("set_priority", "set_priority needs priority"),
                      ("move_queue", "move_queue needs to_queue")],
        "priority": [(1, "retry takes no priority")],
        "to_queue": [("q", "retry takes no to_queue")],
        "submitted_by": NAMES, "all": ALL, **JOB_FILTERS,
    },
    "get_bulk_operation": {"operation_id": UUIDS},
    "list_bulk_operations": {
        "state": [("zz", "unknown state of a bulk operation: 'zz'")], "limit": LIMITS,
    },
    "cancel_bulk_operation": {"operation_id": UUIDS},
    "run_bulk_operation": {
        "operation_id": UUIDS, "on_progress": [(7, "on_progress must be a function, got 7")],
    },
    "task_result": {"workflow_id": IDS, "name": [*NAMES, ("", "must not be empty")]},
    "task_results": {
        "workflow_id": IDS, "name": [*NAMES, ("", "must not be empty")],
        "into": [(7, "into must be a type, got 7"), ("int", "into must be a type, got 'int'")],
    },
    "list_workflows": {
        "state": [("zz", "unknown state of a workflow: 'zz'")], "name": NAMES, "key": NAMES,
        "before_id": IDS[:-1], "limit": LIMITS,
    },
    "get_workflow": {"workflow_id": IDS},
    "list_workflow_tasks": {
        "workflow_id": IDS, "group": NAMES, "state": [("zz", "unknown state of a task: 'zz'")],
        "after": [(-1, "after must be a whole number from 0 to 2147483647: -1"),
                  ("5", "after must be")],
        "limit": LIMITS,
    },
    "workflow_edges": {
        "workflow_id": IDS, "limit": LIMITS,
        "after": [(1, "after must be two numbers, got 1"), ((1,), "after must be two numbers"),
                  (("1", 2), "after must be a whole number from 0 to 2147483647: '1'")],
    },
    "signal": {"workflow_id": IDS, "name": [*NAMES, ("", "must not be empty")],
               "payload": PAYLOADS},
    "cancel_workflow": {"workflow_id": IDS},
    "retry_workflow": {
        "workflow_id": IDS,
        "tasks": [("a", "tasks must be a list, or another iterable: 'a'"), ([7], NAME + "7")],
        "downstream": [(1, "downstream must be True or False, got 1")],
        "dry_run": [(1, "dry_run must be True or False, got 1")],
    },
    "doctor": {
        "checks": [("horizon", "checks must be a list, or another iterable: 'horizon'"),
                   (["horizn"], "unknown check: horizn"), ([["ids"]], "unknown check: ['ids']")],
        "everything": [(1, "everything must be True or False, got 1")],
        "limits": [({}, "limits must be Limits of awa_lib.doctor, got {}")],
        "clock": [(7, "clock must be a function, got 7")],
        "beside": [(None, "beside must be a function, got None")],
    },
}  # fmt: skip

CASES = [
    pytest.param(verb, option, value, words, id=f"{verb}-{option}-{number}")
    for verb, options in TABLE.items()
    if verb != "enqueue"  # async only: see below
    for option, values in options.items()
    for number, (value, words) in enumerate(values)
]

EVERYTHING = """
    SELECT (SELECT count(*) FROM awa.jobs), (SELECT count(*) FROM awa.queue_meta),
           (SELECT count(*) FROM awa.cron_jobs), (SELECT count(*) FROM awa.bulk_operations),
           (SELECT count(*) FROM awa.queue_policies), (SELECT count(*) FROM awa.dead_letters),
           (SELECT count(*) FROM awa.callback_signatures)
"""


def verbs() -> Iterator[tuple[str, list[str]]]:
    """Yield each verb of the clients that takes something, with its named options."""
    no_verbs = {"on", "using", "close", "migrate", "transaction", "health_check",
                "insert_middleware",
                # Blocks: tests/db/test_workflow_rules.py.
                "workflow", "extend_workflow"}  # fmt: skip
    worker = {"task", "middleware", "worker", "http_worker", "on_event", "follow_up", "periodic", "start",
              "queue", "kind",
              "shutdown", "queue_descriptor", "job_kind_descriptor"}  # fmt: skip
    for name, member in inspect.getmembers(awa.AsyncClient, inspect.isfunction):
        options = [
            one.name
            for one in inspect.signature(member).parameters.values()
            if one.name != "self" and one.kind is not one.VAR_KEYWORD
        ]
        if options and not name.startswith("_") and name not in no_verbs | worker:
            yield name, options


def test_every_option_is_in_the_table() -> None:
    for name, options in verbs():
        assert set(options) <= set(TABLE[name]), name
        assert set(CALLS[name]) <= set(TABLE[name]), name


@pytest.fixture(scope="module")
def shared(awa_postgres, awa_template) -> Iterator[str]:
    """One database for the whole table: nothing is ever written to it."""
    with awa_postgres.database(awa_template) as url:
        yield url


@pytest.fixture(scope="module")
def blocking(shared: str) -> Iterator[awa.Client]:
    with awa.Client(shared, 2) as client:
        yield client


@pytest.mark.parametrize(("verb", "option", "value", "words"), CASES)
def test_the_sentence_and_nothing_written(
    blocking: awa.Client, verb: str, option: str, value: Any, words: str
) -> None:
    given = {**CALLS[verb], option: value}
    before = everything(blocking)
    with pytest.raises(ValueError) as caught:
        getattr(blocking, verb)(**given)

    told = str(caught.value)
    assert words in told
    assert "\n" not in told
    assert everything(blocking) == before


def everything(client: awa.Client) -> list[dict[str, Any]]:
    with client.transaction() as tx:
        return tx.fetch_all(EVERYTHING)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        (option, value, words)
        for option, values in TABLE["enqueue"].items()
        for value, words in values
    ],
)
async def test_enqueue(shared: str, option: str, value: Any, words: str) -> None:
    async with awa.AsyncClient(shared, 1) as client:
        with pytest.raises(awa.InvalidInput) as caught:
            await client.enqueue(**{**CALLS["enqueue"], option: value})
        assert words in str(caught.value)
        assert await client.list_jobs() == []
