"""The durable steps of a job: ``awa job show``, its page, and ``awa job retry --from-step``."""

from __future__ import annotations

import pytest
from fix_web import web_client

from awa_cli.redact import Redactor

STEPS = """
    INSERT INTO awa.job_steps (job_id, number, name, value, attempt, started_at, ended_at)
    SELECT %s, number, name, '{"card_token": "s3cret"}', 1, now() - interval '2 s', now()
    FROM unnest('{reserve,charge,ship}'::text[]) WITH ORDINALITY AS s (name, number)
"""


@pytest.fixture
def job(add, db) -> int:
    job_id = add("failed")
    db.execute(STEPS, [job_id])
    return job_id


def names(db, job_id: int) -> list[str]:
    rows = db.execute(
        "SELECT name FROM awa.job_steps WHERE job_id = %s ORDER BY number", [job_id]
    ).fetchall()
    return [row[0] if isinstance(row, tuple) else row["name"] for row in rows]


def test_show_lists_them(cli, job) -> None:
    shown = cli("job", "show", job).out
    assert "Steps" in shown
    assert [line.split()[-1] for line in shown.splitlines() if line.endswith(("reserve", "ship"))]
    dump = cli("job", "show", job, "-o", "json").data
    assert [(one["name"], one["attempt"], one["seconds"]) for one in dump["steps"]] == [
        ("reserve", 1, 2.0), ("charge", 1, 2.0), ("ship", 1, 2.0)
    ]  # fmt: skip
    assert dump["steps"][0]["value"] == {"card_token": "s3cret"}


def test_a_sleep_says_when_it_is_over(cli, job, db) -> None:
    db.execute("UPDATE awa.job_steps SET ended_at = now() + interval '150 m' WHERE name = 'ship'")
    shown = cli("job", "show", job).out
    assert [line[-14:] for line in shown.splitlines() if " ship" in line] == [
        "  over in 2h29m"[-14:]
    ]
    assert shown.count("over in") == 1


def test_values_are_redacted(cli, job) -> None:
    dump = cli("job", "show", job, "-o", "json", "--redact", "token").data
    assert dump["steps"][0]["value"] == {"card_token": "***"}


def test_a_retry_forgets_a_step_and_those_after_it(cli, job, db) -> None:
    assert cli("job", "retry", job, "--from-step", "charge").status == 0
    assert names(db, job) == ["reserve"]


def test_an_unknown_step_changes_nothing(cli, job, db) -> None:
    done = cli("job", "retry", job, "--from-step", "chrge")
    assert done.status == 2
    assert f"job {job} has no step 'chrge'" in done.err
    assert names(db, job) == ["reserve", "charge", "ship"]
    assert cli("job", "show", job, "-o", "json").data["job"]["state"] == "failed"


def test_a_step_belongs_to_one_job(cli, job) -> None:
    done = cli("job", "retry", job, job + 1, "--from-step", "charge")
    assert done.status == 2
    assert "--from-step takes one job" in done.err
    assert "awa job retry ID --from-step charge" in done.err


async def test_the_page_of_a_job(database_url, job) -> None:
    async with web_client(database_url, redactor=Redactor("token")) as client:
        page = (await client.get(f"/jobs/{job}")).text
    assert ">charge</td>" in page
    assert "s3cret" not in page
    assert '<td class="num">2s</td>' in page


async def test_a_step_of_milliseconds_reads_the_same_everywhere(cli, database_url, job, db) -> None:
    db.execute("UPDATE awa.job_steps SET started_at = ended_at - interval '5 ms'")
    async with web_client(database_url) as client:
        page = (await client.get(f"/jobs/{job}")).text
    assert page.count('<td class="num">5ms</td>') == 3
    assert cli("job", "show", job).out.count("   5ms  ") == 3
