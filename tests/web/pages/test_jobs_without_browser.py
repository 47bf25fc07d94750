"""What the pages of jobs answer, asked without a browser."""

from __future__ import annotations

import html
import json
import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from fix_web import web_client

import awa_lib as awa
from awa_cli.access import Access, hash_token
from awa_cli.redact import Redactor


def ids(page) -> list[int]:
    return [int(one) for one in re.findall(r'data-key="(\d+)"', page.text)]


async def token(api) -> dict[str, str]:
    csrf = (await api.get("/jobs")).cookies["awa_csrf"]
    return {"Origin": "http://127.0.0.1:3000", "X-CSRF-Token": csrf}


@pytest.mark.parametrize(
    ("address", "fits"),
    [
        ("state=failed", ["a", "c"]),
        ("state=failed,available", ["a", "b", "c"]),
        ("state=failed&state=available", ["a", "b", "c"]),
        ("kind=b", ["b"]),
        ("queue=q&state=failed", ["c"]),
        ("tag=t", ["c"]),
        ("where=args.n%3D1", ["a"]),
        ("error=PAPER", ["a", "c"]),
        ("since=1h&kind=a", ["a"]),
        ("until=1h", []),
    ],
)
async def test_the_address_filters_as_the_api_does(api, add, address, fits) -> None:
    error = ['{"error": "no paper", "attempt": 1}']
    found = {
        "a": add("failed", kind="a", args='{"n": 1}', finalized_at="now", errors=error),
        "b": add(kind="b"),
        "c": add("failed", kind="c", queue="q", tags=["t"], finalized_at="now", errors=error),
    }

    page = await api.get(f"/jobs?{address}")

    assert ids(page) == sorted((found[name] for name in fits), reverse=True)


def link(page, rel: str) -> str:
    return html.unescape(re.search(rf'rel="{rel}" href="([^"]+)"', page.text)[1])


async def test_pages_go_on_where_the_last_ended(api, add) -> None:
    made = [add() for _ in range(7)][::-1]
    first = await api.get("/jobs?limit=3")
    second = await api.get(link(first, "next"))
    third = await api.get(link(second, "next"))
    back = await api.get(link(second, "prev"))

    assert [ids(one) for one in (first, second, third, back)] == [
        made[:3],
        made[3:6],
        made[6:],
        made[:3],
    ]
    assert 'rel="next"' not in third.text
    assert 'rel="prev"' not in back.text


@pytest.mark.parametrize(
    "address",
    [
        "nope=1",
        "state=nope",
        "sort=nope",
        "limit=0",
        "before_id=x",
        "since=soon",
        "where=x",
        "column=x",
        "kind=%00",
    ],
)
async def test_what_cannot_be_read_is_a_page_that_says_so(api, address) -> None:
    page = await api.get(f"/jobs?{address}", headers={"Accept": "text/html"})

    assert page.status_code == 422
    assert "do: " in page.text or "why: " in page.text or 'role="alert"' in page.text


async def test_a_typed_filter_leads_to_its_address(api) -> None:
    page = await api.get(
        "/jobs", params={"filter": 'state:failed,retryable kind:"a b" args.to="x y"', "sort": "id"}
    )

    assert page.status_code == 303
    assert (
        page.headers["location"]
        == "/jobs?state=failed&state=retryable&kind=a+b&where=args.to%3D%22x+y%22&sort=id"
    )


async def test_other_orders_are_offered_where_few_jobs_fit(api, add) -> None:
    add("failed", finalized_at="now")

    every = (await api.get("/jobs")).text
    failed = (await api.get("/jobs?state=failed")).text

    assert "sort=-attempt" not in every
    assert "sort=-attempt" in failed


async def test_hidden_values_are_neither_shown_nor_asked_for(database_url, add) -> None:
    job_id = add("failed", args='{"password": "s3cret"}', finalized_at="now")
    async with web_client(database_url, redactor=Redactor("password")) as client:
        pages = [
            await client.get(address)
            for address in (
                f"/jobs/{job_id}",
                "/jobs?column=args",
                "/jobs?where=args.password%3Ds3cret",
            )
        ]
        preview = await client.get("/jobs/bulk?action=retry&where=args.password%3Ds3cret")

    assert [one.status_code for one in pages] == [200, 200, 422]
    assert all("s3cret" not in one.text for one in pages[:2])
    assert preview.status_code == 422


async def test_who_may_read_is_offered_no_change(database_url, add) -> None:
    job_id = add("failed", finalized_at="now")
    access = Access(tokens={hash_token("t"): ("reader", "read")})
    headers = {"Authorization": "Bearer t"}
    async with web_client(database_url, access=access) as client:
        page = await client.get(f"/jobs/{job_id}", headers=headers)
        refused = await client.post(f"/jobs/{job_id}/retry", headers=headers)
        bulk = await client.post(
            "/jobs/bulk", headers=headers, data={"action": "retry", "ids": job_id}
        )

    buttons = re.findall(r"<button[^>]*hx-(?:post|get)[^>]*>", page.text)
    assert buttons
    assert all(" disabled" in one for one in buttons)
    assert (refused.status_code, bulk.status_code) == (403, 403)


async def test_attempts_are_counted_to_the_limit_of_the_kind(api, add) -> None:
    entry = '{"error": "no", "attempt": 1, "max_attempts": 2}'
    page = await api.get(f"/jobs/{add('retryable', attempt=1, errors=[entry])}")

    assert "attempt 1 of 2" in page.text


async def test_nothing_changes_without_the_token(api, add) -> None:
    job_id = add("failed", finalized_at="now")

    answers = [
        await api.post(f"/jobs/{job_id}/delete", headers={"Origin": "http://127.0.0.1:3000"}),
        await api.post(
            "/jobs/bulk",
            headers={"Origin": "http://evil.example"},
            data={"action": "discard", "ids": job_id},
        ),
    ]

    assert [one.status_code for one in answers] == [403, 403]
    assert (await api.get(f"/api/jobs/{job_id}")).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"action": "explode", "ids": "1"}, 422),
        ({"action": "retry", "ids": "one"}, 422),
        ({"action": "retry", "ids": ",".join(map(str, range(1, 1002)))}, 422),
        ({"action": "priority", "ids": "1"}, 422),
        ({"action": "priority", "ids": "1", "priority": "9"}, 422),
        ({"action": "move", "ids": "1", "to_queue": "x" * 201}, 422),
        ({"action": "retry", "kind": "\x00"}, 422),
        ({"action": "retry", "state": ["failed", "cancelled"]}, 422),
        ({"action": "cancel", "ids": "1"}, 404),
    ],
)
async def test_a_bulk_change_that_means_nothing_is_refused(api, sent, status) -> None:
    answer = await api.post("/jobs/bulk", headers=await token(api), data=sent)

    assert answer.status_code == status
    assert answer.json()["what"]


async def test_some_that_cannot_be_changed_do_not_stop_the_others(api, add) -> None:
    job_id = add("failed", finalized_at="now")

    answer = await api.post(
        "/jobs/bulk", headers=await token(api), data={"action": "retry", "ids": f"{job_id},9999"}
    )

    said = json.loads(answer.headers["hx-trigger"])["notice"]["text"]
    assert said == "Retried 1 job; 1 refused: job not found: 9999"


@pytest.mark.parametrize("job_id", ["1", "0", "9223372036854775808", "99999999999999999999999"])
async def test_a_job_that_is_not_there(api, job_id) -> None:
    page = await api.get(f"/jobs/{job_id}", headers={"Accept": "text/html"})

    assert page.status_code == 404
    assert f"job not found: {job_id}" in page.text


async def test_a_job_with_odd_data_is_shown(api, add) -> None:
    job_id = add(
        "failed",
        finalized_at="now",
        kind="<k>",
        queue="a/b",
        tags=["t&u"],
        args='{"": null, "deep": {"a": [[], {}, {"b": ["<i>", true]}]}, "n": 1e30}',
        metadata='{"x": "y"}',
        progress='{"percent": "ten", "metadata": [1]}',
        errors=[
            '{"error": "", "attempt": 1, "at": "2030-01-01T00:00:00+00:00"}',
            '{"attempt": "one"}',
        ],
    )

    page = await api.get(f"/jobs/{job_id}")

    assert page.status_code == 200
    assert "&lt;i&gt;" in page.text
    assert "<i>" not in page.text
    assert 'href="/queues/a%2Fb"' in page.text
    assert "/jobs?tag=t%26u" in page.text


async def test_a_job_with_deep_and_long_data_is_shown(api, add) -> None:
    deep = '{"a": ' * 100 + "1" + "}" * 100
    job_id = add(args=f'{{"deep": {deep}, "long": {list(range(5000))}}}')

    page = await api.get(f"/jobs/{job_id}")

    assert page.status_code == 200
    assert "and 4,800 more" in page.text


# -- errors

WRONG = {
    "state": "faild",
    "kind": "k" * 201,
    "queue": "a\0b",
    "tag": "t" * 201,
    "since": "soon",
    "until": "2030-13-01",
    "where": "customer=1",
    "error": "\0",
}


def problem_of(page) -> str:
    found = re.search(r'<p[^>]*id="filter-problem"[^>]*>(.*?)</p>', page.text, re.DOTALL)
    return html.unescape(found[1])


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/jobs", list(WRONG)),
        ("/dlq", ["kind", "queue", "tag"]),
        ("/audit", ["since", "until"]),
        ("/jobs/bulk?action=retry", list(WRONG)),
        ("/dlq/bulk?action=retry", ["kind", "queue", "tag"]),
        ("/api/jobs", ["since", "until"]),
        ("/api/audit", ["since", "until"]),
    ],
)
async def test_an_error_names_the_parameter(api, path, fields) -> None:
    for name in fields:
        # A year that the schema of the API takes and Python does not.
        value = "0001-01-01T00:00:00+10:00" if path.startswith("/api") else WRONG[name]
        page = await api.get(path, params={**dict(parse_qsl(urlsplit(path).query)), name: value})

        assert page.status_code == 422, page.text
        if "bulk" in path:
            said = html.unescape(page.text)
        else:
            said = page.json()["what"] if path.startswith("/api") else problem_of(page)
        assert f"{name}='" in said
        assert f"--{name}" not in said
        assert f"{name}:" not in said


async def test_an_error_of_a_typed_filter_names_its_words(api) -> None:
    page = await api.get("/jobs", params={"filter": "since:soon"})

    assert page.status_code == 422
    assert "since: 'soon' is neither" in problem_of(page)
    assert "write it like since:2h" in problem_of(page)


async def test_a_wrong_filter_stays_in_its_line(api) -> None:
    page = await api.get("/jobs?state=failed&since=soon")

    assert 'value="state:failed since:soon"' in page.text


async def test_a_change_of_all_names_what_it_does_not_take(api) -> None:
    several = await api.get("/jobs/bulk?action=retry&state=failed,cancelled")
    metadata = await api.get("/jobs/bulk?action=retry&where=metadata.a%3D1")

    assert [422, 422] == [several.status_code, metadata.status_code]
    assert "state='failed,cancelled' names several states" in html.unescape(several.text)
    assert "where='metadata.a=1' does not filter bulk operations" in html.unescape(metadata.text)


async def test_an_operation_leads_to_the_jobs_of_its_filter(api, database_url) -> None:
    where = {"state": "failed", "created_before": "2030-01-01T00:00:00+00:00"}
    with awa.Client(database_url) as client:
        plain = client.submit_bulk_operation("retry", **where, args={"to": {"n": 1}}).id
        dotted = client.submit_bulk_operation("retry", **where, args={"a.b": 1}).id

    to = html.unescape((await api.get(f"/batches/{plain}")).text)
    assert (
        "/jobs?state=failed&until=2030-01-01T00%3A00%3A00%2B00%3A00"
        "&where=args.to%3D%7B%22n%22%3A1%7D" in to
    )
    assert (await api.get(f"/batches/{dotted}")).text.count("/jobs?state=") == 0
