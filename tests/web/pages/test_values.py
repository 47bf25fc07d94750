"""Parts and downloads of JSON values, and how a tree is cut."""

from __future__ import annotations

import re

from fix_web import big, put_big, web_client
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.redact import Redactor
from awa_cli.views.trees import Branch, grow, resolve


async def test_the_download_is_the_value(database_url) -> None:
    job_id = put_big(database_url, big(), metadata='{"m": 1}')
    async with web_client(database_url) as client:
        whole = await client.get(f"/jobs/{job_id}?value=args&raw")
        part = await client.get(f"/jobs/{job_id}?value=args&at=/last/~0odd~1key&raw")
        job = await client.get(f"/jobs/{job_id}?value=job&raw")
        meta = await client.get(f"/jobs/{job_id}?value=metadata&raw")

    assert whole.json() == big()
    assert part.json() == {"deep": [1, {"end": "here"}]}
    assert job.json()["args"] == big()
    assert meta.json() == {"m": 1}
    assert whole.headers["content-type"] == "application/json"
    named = f'attachment; filename="job-{job_id}-args.json"'
    assert whole.headers["content-disposition"] == named


async def test_what_is_not_there_is_said(database_url) -> None:
    queries = [
        "value=nothing", "value=", "value=args&from=x", "value=args&raw&at=/nothing",
        *(f"value=args&at={at}" for at in (
            "/none", "none", "/items/10000", "/items/-1", "/items/٣", "/note/0", "/items/" + "9" * 20,
        )),
    ]  # fmt: skip
    job_id = put_big(database_url, big())
    async with web_client(database_url) as client:
        for query in queries:
            found = await client.get(f"/jobs/{job_id}?{query}", headers={"Accept": "text/html"})

            assert found.status_code == 404, query
            assert "reload the page" in found.text


async def test_hidden_values_stay_hidden(database_url) -> None:
    job_id = put_big(database_url, {"secret": "marzipan", "list": [{"secret": "marzipan"}]})
    async with web_client(database_url, redactor=Redactor("secret")) as client:
        for query in ("value=args&raw", "value=job&raw", "document", "value=args", ""):
            assert "marzipan" not in (await client.get(f"/jobs/{job_id}?{query}")).text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(), inner, max_size=9),
    max_leaves=60,
)


def branches(top: Branch):
    yield top
    for one in top.members or ():
        yield from branches(one)


@given(JSON)
def test_a_pointer_finds_the_value_of_its_branch(value: object) -> None:
    for branch in branches(grow(value)):
        assert resolve(value, branch.at) == branch.value


@given(st.integers(0, 3_000), st.integers(0, 4_000), st.integers(0, 30))
def test_a_tree_is_small_and_its_steps_lead_through_all(size: int, start: int, inner: int) -> None:
    value = [list(range(inner)) for _ in range(size)]
    seen, at = [], start
    while True:
        tree = grow(value, start=at)
        assert sum(1 for _ in branches(tree)) <= 301
        if not tree.members:
            break
        seen += [one.name for one in tree.members]
        at = tree.next_start

    assert seen == [str(n) for n in range(start, size)]


def test_a_deep_value_is_no_deep_recursion() -> None:
    value: object = "end"
    for _ in range(900):
        value = [value]
    depth = max(len(re.findall("/", one.at)) for one in branches(grow(value)))

    assert depth == 16
    assert resolve(value, "/0" * 900) == "end"
