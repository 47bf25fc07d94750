"""Results over HTTP: the endpoint, the page of the job, and what is hidden."""

from __future__ import annotations

import pytest
from fix_web import web_client

from awa_cli.redact import Redactor

SECRET = '{"user": {"api_token": "s3cret", "name": "Ada"}, "list": [{"PASSWORD": "s3cret"}]}'


@pytest.fixture
def keep(db):
    def keep(job_id: int, value: str, ttl: str = "1 day") -> None:
        db.execute(
            "INSERT INTO awa.job_results (job_id, value, size_bytes, expires_at, purge_at)"
            " VALUES (%s, %s, %s, now() + %s::interval, now())",
            [job_id, value, len(value), ttl],
        )

    return keep


async def test_the_result_is_that_of_the_command(api, add, keep, cli) -> None:
    job_id = add("completed")
    keep(job_id, '{"pages": 3}')
    answer = await api.get(f"/api/jobs/{job_id}/result")

    assert answer.json() == cli("job", "result", job_id, "-o", "json").data
    assert (answer.json()["value"], answer.json()["size_bytes"]) == ({"pages": 3}, 12)


async def test_why_there_is_none(api, add, keep) -> None:
    error = '{"error": "OSError: s3cret", "type": "builtins.OSError", "attempt": 1}'
    expired, failed = add("completed"), add("failed", errors=[error])
    keep(expired, "1", "-1 day")
    told = [
        (add("available"), 409, "has no result yet"),
        (failed, 409, f"job {failed} failed: builtins.OSError"),
        (add("cancelled"), 409, "was cancelled"),
        (add("completed"), 404, "completed without a result"),
        (expired, 404, f"the result of job {expired} expired at"),
        (777, 404, "job not found: 777"),
    ]
    for job_id, status, words in told:
        answer = await api.get(f"/api/jobs/{job_id}/result")
        assert (answer.status_code, words in answer.json()["error"]) == (status, True), words
        assert "s3cret" not in answer.text


async def test_values_are_hidden_as_those_of_args_are(database_url, add, keep) -> None:
    job_id = add("completed")
    keep(job_id, SECRET)
    async with web_client(database_url, redactor=Redactor("password|token")) as hiding:
        for path in ("/result", "/dump"):
            answer = await hiding.get(f"/api/jobs/{job_id}{path}")
            assert (answer.status_code, "Ada" in answer.text) == (200, True), path
            assert "s3cret" not in answer.text, path
        page = await hiding.get(f"/jobs/{job_id}", headers={"Accept": "text/html"})
        value = await hiding.get(f"/jobs/{job_id}?value=result&raw")
    assert "s3cret" not in page.text + value.text
    assert "Ada" in page.text
    assert "Ada" in value.text


@pytest.mark.parametrize("value", ["null", "0", "{}", '"<b>bold</b>"'])
async def test_the_page_shows_any_result(api, add, keep, value) -> None:
    job_id, other = add("completed"), add("completed")
    keep(job_id, value)
    shown, without = [
        (await api.get(f"/jobs/{one}", headers={"Accept": "text/html"})).text
        for one in (job_id, other)
    ]
    assert f"{len(value)} bytes, kept until" in shown
    assert "<b>bold" not in shown
    assert "kept until" not in without
