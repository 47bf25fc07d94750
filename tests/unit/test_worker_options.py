"""Wrong options of the worker half of a client: the sentence the caller gets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import awa_lib as awa
from awa_lib.config.workers import WorkerOptions


@dataclass
class Mail:
    to: str


def handler(job: awa.Job) -> None: ...


async def coroutine(event: awa.Event) -> None: ...


def yielding(job: awa.Job) -> Iterator[None]:
    yield


NAME = "must be text of at most 200 characters: "
POSITIVE = ("poll_interval_ms", "quiet_poll_interval_ms", "heartbeat_interval_ms",
            "heartbeat_staleness_ms", "promote_interval_ms", "heartbeat_rescue_interval_ms",
            "deadline_rescue_interval_ms", "callback_rescue_interval_ms",
            "leader_election_interval_ms", "claim_batch", "cleanup_batch_size",
            "global_max_workers")  # fmt: skip
FROM_ZERO = ("completed_retention_hours", "failed_retention_hours", "descriptor_retention_days",
             "audit_retention_days", "ends_retention_days", "cancel_grace_ms", "callback_hold_ms")  # fmt: skip
WHOLE = ("claim_batch", "cleanup_batch_size", "global_max_workers")
URLS = [("ftp://x", "must be an http or https URL, got 'ftp://x'"), (7, "must be an http"),
        ("https://", "must be an http or https URL")]  # fmt: skip
BACKOFFS = [("slow", "backoff must be fixed(), linear(), exponential() or a function, got 'slow'"),
            (5, "backoff must be"), (awa.fixed, "backoff must be fixed()")]  # fmt: skip
ATTEMPTS = [(0, "max_attempts must be a whole number from 1 to 1000"), ("3", "max_attempts must")]
TIMES = [(0, "must be a number > 0, got 0"), ("5", "must be a number > 0, got '5'"),
         (float("nan"), "must be a number > 0")]  # fmt: skip
FIELDS = {
    **{name: [(7, f"{name} must be text of at most"), ("x" * 2049, f"{name} must be text")]
       for name in ("display_name", "description", "owner", "docs_url")},
    "tags": [("abc", "tags must be a list of at most 20"), ([1], "tags[0] must be text")],
    "extra": [([1], "extra must be"), ({"a": float("nan")}, "extra.a: NaN")],
    "ownr": [("me", "unknown field of a descriptor 'ownr'")],
}  # fmt: skip
CALLS: dict[str, dict[str, Any]] = {
    "queue": {"name": "mail"},
    "task": {"args_type": Mail},
    "worker": {"args_type": Mail},
    "http_worker": {"kind": "k", "url": "https://x.invalid/"},
    "on_event": {"kind": Mail},
    "follow_up": {"kind": Mail},
    "periodic": {
        "name": "n", "cron_expr": "@daily", "args_type": Mail, "args": Mail("a"),
    },
    "queue_descriptor": {"queue": "q"},
    "job_kind_descriptor": {"kind": "k"},
    "shutdown": {},
}  # fmt: skip
KINDS = [("", "kind must be 1 to 200 characters of text, got ''"), (7, "kind must be 1 to 200")]
PRIORITIES = [(0, "priority must be a whole number from 1 to 4: 0")]
TAGS = [("abc", "tags must be a list of texts")]
TABLE: dict[str, dict[str, list[tuple[Any, str]]]] = {
    "queue": {
        "name": [("", "queue must not be empty"), (7, "queue " + NAME + "7")],
        "concurrency": [(0, "concurrency must be >= 1, got 0"),
                        ("5", "concurrency must be an integer, got '5'"),
                        (None, "concurrency must be an integer, got None")],
        "min_workers": [(-1, "min_workers must be >= 0, got -1"),
                        ("2", "min_workers must be an integer, got '2'")],
        "weight": [(0, "weight must be > 0"), ("2", "weight must be an integer, got '2'")],
        "rate_limit": [(5, "rate_limit must be a (max_rate, burst) tuple"),
                       ((0, 1), "rate_limit max_rate must be > 0.0")],
        "backoff": BACKOFFS,
        "deadline_seconds": [(0, "deadline_seconds must be > 0 or None, got 0")],
        "retention": [(5, "retention must be a dict"),
                      ({"hours": 5}, "unknown retention key 'hours'")],
        "dead_letters": [("yes", "dead_letters must be True, False or None, got 'yes'")],
        "capture_logs": [("yes", "capture_logs must be True, False or None, got 'yes'")],
    },
    "task": {
        "args_type": [("mail", "the first argument is the type of the args, got 'mail'"),
                      ({}, "the first argument is the type of the args, got {}"),
                      (repr, "the first argument is the type of the args, got <built-in"),
                      (handler, "write @client.task(ArgsType) above handler")],
        "kind": KINDS, "queue": [("", "queue must not be empty"), (7, "queue " + NAME + "7")],
        "priority": PRIORITIES, "tags": TAGS,
        "unique": [({"by_args": True}, "unique must be an awa_lib.Unique, got dict")],
        "unique_opts": [({"by": "args"}, "unknown unique_opts key 'by'"), (7, "unique_opts")],
        "backoff": BACKOFFS, "max_attempts": ATTEMPTS,
        "retry_on": [("OSError", "retry_on must be exception classes, got 'OSError'")],
        "discard_on": [([7], "discard_on must be exception classes, got 7")],
        "result": [("Report", "result must be True or a type, got 'Report'")],
        "result_ttl": [("1h", "result_ttl and result_max_bytes need a kind that keeps results")],
        "result_max_bytes": [(5, "result_ttl and result_max_bytes need a kind that keeps")],
        "capture_logs": [("yes", "capture_logs must be True, False or None, got 'yes'")],
    },
    "worker": {"args_type": [("mail", "the first argument is the type of the args")],
               "kind": KINDS, "queue": [(7, "queue " + NAME + "7")]},
    "http_worker": {
        "kind": KINDS, "url": URLS, "queue": [(7, "queue " + NAME + "7")],
        "mode": [("both", "mode must be 'async' or 'sync', got 'both'")],
        "timeout_seconds": TIMES, "callback_timeout_seconds": TIMES,
        "callback_base_url": URLS[:2],
        "headers": [({"a": "b\nc"}, "headers must be a dict of strings"), (7, "headers")],
        "secret": [("zz", "the callback secret is not 64 hex digits"), (b"k", "must be 32 bytes")],
        "verify": [(7, "verify must be True, False, a CA file or an SSLContext: 7"),
                   ("/no/such.pem", "the CA file '/no/such.pem' of verify does not exist")],
        "backoff": BACKOFFS, "max_attempts": ATTEMPTS,
    },
    "on_event": {"kind": [KINDS[0], (7, "kind must be a name or the type of the args, got 7")]},
    "follow_up": {"kind": [KINDS[0], (7, "kind must be a name or the type of the args")]},
    "periodic": {
        "name": [("", "name must not be empty"), (7, "name " + NAME + "7")],
        "cron_expr": [("x y", "invalid cron expression"), (7, "invalid cron expression")],
        "args_type": [("mail", "the first argument is the type of the args")],
        "args": [(7, "Job args must be a dataclass")],
        "timezone": [("Mars/X", "invalid timezone: "), (7, "invalid timezone: ")],
        "queue": [(7, "queue " + NAME + "7")],
        "priority": PRIORITIES,
        "max_attempts": ATTEMPTS, "tags": TAGS,
        "metadata": [([1], "metadata must be")], "kind": KINDS,
        "missed_fire_policy": [("never", "missed_fire_policy must be one of")],
        "catch_up_limit": [(0, "catch_up_limit must be a whole number from 1 to 10000: 0")],
        "jitter_seconds": [(-1, "jitter_seconds must be a number from 0 to 86400, got -1"),
                           ("5", "jitter_seconds must be a number")],
    },
    "queue_descriptor": {"queue": [("", "queue must not be empty"), (7, NAME)], **FIELDS},
    "job_kind_descriptor": {"kind": [("", "kind must not be empty"), (7, NAME)], **FIELDS},
    "shutdown": {"timeout_ms": [("5", "timeout_ms must be a number of milliseconds: '5'")]},
}  # fmt: skip
START: list[tuple[dict[str, Any], str]] = [
    *(({name: value}, f"{name} must be > 0") for name in POSITIVE for value in (0, -1)),
    *(({name: -1}, f"{name} must be > 0") for name in FROM_ZERO),
    *(({name: value}, f"{name} must be a number, got {value!r}")
      for name in POSITIVE + FROM_ZERO for value in ("5", True, float("nan"))),
    *(({name: 1.5}, f"{name} must be a whole number, got 1.5") for name in WHOLE),
    *(({"leads": value}, f"leads must be True or False, got {value!r}") for value in (1, "no")),
    ({"poll_intervall_ms": 5}, "unknown start() option 'poll_intervall_ms'; did you mean"),
]  # fmt: skip
QUEUES: list[tuple[Any, str]] = [
    (7, "queues must be a list of tuples and dicts, got 7"),
    ("mail", "queues must be a list"),
    ({"name": "default", "max_workers": 1}, "queues must be a list"),
    ([7], "queue config must be a tuple or a dict, got int"),
    (["default"], "queue config must be a tuple or a dict, got str"),
    ([("default",)], "a queue's tuple must be (name, max_workers), got ('default',)"),
    ([("default", 1, 2)], "a queue's tuple must be"),
    ([("default", 0)], "max_workers must be >= 1, got 0"),
    ([("default", "4")], "max_workers must be an integer, got '4'"),
    ([(7, 1)], "queue name must be a string, got 7"),
    ([("", 1)], "queue name must have 1 to 200 characters"),
    ([("other", 1)], "start() must configure the worker queues declared via"),
    ([("default", 1), ("default", 2)], "queue 'default' is configured twice"),
]
QUEUE: list[tuple[dict[str, Any], str]] = [
    ({"max_worker": 1}, "unknown queue config key 'max_worker'; did you mean: max_workers"),
    ({"max_workers": 1, "min_workers": 1}, "max_workers and min_workers cannot be used together"),
    ({}, "max_workers required in hard-reserved mode"),
    ({"max_workers": 1, "weight": 0}, "weight must be > 0"),
    ({"max_workers": 1, "weight": "2"}, "weight must be an integer, got '2'"),
    ({"max_workers": 1, "rate_limit": 5}, "rate_limit must be a (max_rate, burst) tuple"),
    ({"max_workers": 1, "rate_limit": (0, 1)}, "rate_limit max_rate must be > 0.0"),
    ({"max_workers": 1, "rate_limit": ("x", 1)}, "rate_limit max_rate must be a number, got 'x'"),
    ({"max_workers": 1, "rate_limit": (1, -1)}, "burst must be >= 0, got -1"),
    ({"max_workers": 1, "retention": 5}, "retention must be a dict"),
    ({"max_workers": 1, "retention": {"hours": 5}}, "unknown retention key 'hours'"),
    ({"max_workers": 1, "retention": {"failed_hours": -1}}, "retention failed_hours must be >= 0"),
    ({"max_workers": 1, "retention": {"failed_hours": True}}, "retention failed_hours must be"),
    ({"max_workers": 1, "deadline_seconds": 0}, "deadline_seconds must be > 0 or None, got 0"),
    ({"max_workers": 1, "deadline_seconds": "5"}, "deadline_seconds must be > 0 or None"),
    ({"max_workers": 1, "dead_letters": "yes"}, "dead_letters must be True, False or None"),
    ({"max_workers": 1, "backoff": "slow"}, "backoff must be fixed(), linear(), exponential()"),
]


def client() -> awa.AsyncClient:
    made = awa.AsyncClient("postgresql:///nowhere")
    made.task(Mail)(handler)
    return made


async def call(verb: str, **given: Any) -> None:
    result = getattr(client(), verb)(**given)
    if inspect.isawaitable(result):
        await result
    elif callable(result):
        result(handler)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("verb", "option", "value", "words"),
    [
        pytest.param(verb, option, value, words, id=f"{verb}-{option}-{number}")
        for verb, options in TABLE.items()
        for option, values in options.items()
        for number, (value, words) in enumerate(values)
    ],
)
async def test_the_sentence(verb: str, option: str, value: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        await call(verb, **{**CALLS[verb], option: value})

    assert words in str(caught.value)


@pytest.mark.parametrize(("options", "words"), START)
async def test_start(options: dict[str, Any], words: str) -> None:
    queues = [{"name": "default", "min_workers": 0}] if "global_max_workers" in options else None
    with pytest.raises(ValueError) as caught:
        await client().start(queues, **options)

    assert words in str(caught.value)


@pytest.mark.parametrize(("queues", "words"), QUEUES)
async def test_start_queues(queues: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        await client().start(queues)

    assert words in str(caught.value)


@pytest.mark.parametrize(("queue", "words"), QUEUE)
async def test_start_queue(queue: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        await client().start([{"name": "default", **queue}])

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.on_event(Mail, Mail)(handler), "events must be classes of awa_lib.events"),
        (lambda c: c.on_event(Mail)(7), "a hook must be callable, got 7"),
        (lambda c: c.follow_up(Mail, awa.Started)(handler), "Started has no follow-up"),
        (lambda c: c.follow_up(Mail)(coroutine), "a follow-up must be a plain function"),
        (lambda c: c.task(Mail)(7), "a handler must be callable, got 7"),
        (
            lambda c: c.task(Mail)(lambda: None),
            "a handler must take the job as its argument, which <func",
        ),
        (
            lambda c: c.task(Mail)(yielding),
            "a handler must not be a generator: the body of yielding",
        ),
    ],
)
def test_what_is_registered(call: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        call(client())

    assert words in str(caught.value)


def test_every_option_is_in_the_table() -> None:
    for verb, options in TABLE.items():
        known = {
            one.name
            for one in inspect.signature(getattr(awa.AsyncClient, verb)).parameters.values()
            if one.name != "self" and one.kind not in {one.VAR_KEYWORD, one.VAR_POSITIONAL}
        }
        assert known <= set(options), verb


HEARTBEATS = [
    # given: interval, staleness; interval, staleness, look, election; of those that declare none
    (None, None, (3_000, 10_000, 2_000, 3_000), (30_000, 90_000)),
    (None, 3_000, (1_000, 3_000, 1_000, 1_000), (1_000, 3_000)),
    (1_500, 3_000, (1_500, 3_000, 1_000, 1_000), (1_500, 3_000)),
    (None, 90_000, (3_000, 90_000, 2_000, 3_000), (30_000, 90_000)),
    (1_000, None, (1_000, 10_000, 2_000, 3_000), (30_000, 90_000)),
    (30_000, None, (30_000, 90_000, 2_000, 3_000), (30_000, 90_000)),
    (60_000, None, (60_000, 180_000, 2_000, 3_000), (30_000, 90_000)),
]


@pytest.mark.parametrize(("interval", "staleness", "own", "of_others"), HEARTBEATS)
def test_what_is_not_given_of_heartbeats_follows(
    interval: float | None,
    staleness: float | None,
    own: tuple[float, ...],
    of_others: tuple[float, ...],
) -> None:
    options = WorkerOptions.build(
        [("q", 1)], (), heartbeat_interval_ms=interval, heartbeat_staleness_ms=staleness
    )

    assert own == (
        options.heartbeat_interval_ms,
        options.heartbeat_staleness_ms,
        options.heartbeat_rescue_interval_ms,
        options.leader_election_interval_ms,
    )
    assert of_others == (options.undeclared_interval_ms, options.undeclared_staleness_ms)


def test_the_defaults_are_those_of_the_class() -> None:
    usual = WorkerOptions.build([("q", 1)], ())

    assert usual == WorkerOptions(usual.queues)


@pytest.mark.parametrize(
    "given",
    [
        {"heartbeat_interval_ms": 60_000, "heartbeat_staleness_ms": 90_000},
        {"heartbeat_interval_ms": 1_501, "heartbeat_staleness_ms": 3_000},
    ],
)
def test_one_late_heartbeat_must_not_cost_the_jobs(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be at least twice heartbeat_interval_ms, got"):
        WorkerOptions.build([("q", 1)], (), **given)
