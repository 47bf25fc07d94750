"""What was enqueued, and how a failed assertion tells of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

import awa_lib as awa
from awa_lib import testing


@dataclass
class SendMail:
    to: str
    copies: int = 1


@pytest.fixture
def call(client):
    async def call(helper, *args, **options):
        result = helper(client.inner, *args, **options)
        return await result if inspect.isawaitable(result) else result

    return call


@pytest.fixture
async def jobs(client):
    return [
        await client.insert(SendMail("a")),
        await client.insert(SendMail("b", 2), queue="slow"),
        await client.insert({}, kind="other", run_at=datetime.now(UTC) + timedelta(hours=1)),
    ]


@pytest.mark.parametrize(
    ("args", "options", "found"),
    [
        ((), {}, [0, 1, 2]),
        (("send_mail",), {}, [0, 1]),
        ((SendMail,), {}, [0, 1]),
        ((SendMail,), {"args": {"to": "b"}}, [1]),
        ((SendMail,), {"args": SendMail("a")}, [0]),
        ((SendMail,), {"args": SendMail("a", 2)}, []),
        ((), {"queue": "slow"}, [1]),
    ],
)
async def test_enqueued_narrows(jobs, call, args, options, found) -> None:
    assert [job.id for job in await call(testing.enqueued, *args, **options)] == [
        jobs[n].id for n in found
    ]


async def test_ended_and_running_jobs_are_not_enqueued(client, call, put) -> None:
    for state in ["running", "completed", "failed", "cancelled", "waiting_external"]:
        put(state=state)
    waiting = [put(state=state)["id"] for state in ["available", "scheduled", "retryable"]]

    assert [job.id for job in await call(testing.enqueued, "k")] == waiting


async def test_assertions_that_hold_return_the_jobs(jobs, call) -> None:
    (job,) = await call(testing.assert_enqueued, SendMail, args={"to": "a"}, count=1)

    assert job.id == jobs[0].id
    assert len(await call(testing.assert_enqueued, "send_mail")) == 2
    assert await call(testing.assert_enqueued, "none", count=0) == []
    assert await call(testing.assert_not_enqueued, SendMail, args={"to": "z"}) is None


async def test_a_failure_lists_what_waits_instead(jobs, call) -> None:
    with pytest.raises(AssertionError) as caught:
        await call(testing.assert_enqueued, SendMail, args={"to": "z"}, queue="slow")

    assert str(caught.value) == (
        'expected at least 1 enqueued of send_mail, args {"to":"z"}, queue \'slow\', found 0;'
        " waiting:\n"
        '  send_mail {"to":"a","copies":1} queue \'default\' available\n'
        '  send_mail {"to":"b","copies":2} queue \'slow\' available\n'
        "  other {} queue 'default' scheduled"
    )


async def test_a_failure_on_an_empty_queue_and_on_too_many(client, call) -> None:
    with pytest.raises(AssertionError, match=r"found 0; waiting:\n  nothing"):
        await call(testing.assert_enqueued, "send_mail")
    await client.insert_many([SendMail("a")] * 25)
    with pytest.raises(AssertionError, match=r"expected 2 enqueued .* found 25(.|\n)*and 5 more"):
        await call(testing.assert_enqueued, "send_mail", count=2)
    with pytest.raises(AssertionError, match="expected 0 enqueued of send_mail, found 25"):
        await call(testing.assert_not_enqueued, "send_mail")


@pytest.mark.parametrize(
    ("helper", "args", "options", "sentence"),
    [
        ("enqueued", (7,), {}, "kind must be a name or the class of the args: 7"),
        ("enqueued", (), {"queue": 7}, "queue must be text: 7"),
        ("enqueued", (), {"args": 7}, "Job args must be a dataclass, pydantic BaseModel, or dict"),
        ("assert_enqueued", ("k",), {"count": -1}, "count must be a whole number from 0 on: -1"),
        ("assert_enqueued", ("k",), {"count": "1"}, "count must be a whole number from 0 on: '1'"),
    ],
)
async def test_bad_options(client, call, helper, args, options, sentence) -> None:
    with pytest.raises(awa.ValidationError) as caught:
        await call(getattr(testing, helper), *args, **options)

    assert str(caught.value) == sentence
