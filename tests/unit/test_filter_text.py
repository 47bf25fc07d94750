"""The filter as one line of text, as the monitor and the page of jobs take it."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.filters.query import Read
from awa_cli.filters.text import add_word, complete_filter, read_text, text_pairs
from awa_lib.errors import InvalidInput

NAMES = st.text(string.ascii_letters + string.digits + "_-.: \"'\\é", min_size=1, max_size=20).map(
    str.strip
)


def test_each_word_narrows_the_filter() -> None:
    found = read_text(
        'state:failed,running state:cancelled kind:email tag:x args.customer=42 args.to.name="Ada B"'
        ' metadata.run="\\"7\\"" error:"connection refused"'
    )

    assert {
        "states": ["failed", "running", "cancelled"],
        "kind": "email",
        "tag": "x",
        "args": {"customer": 42, "to": {"name": "Ada B"}},
        "metadata": {"run": '"7"'},
        "error": "connection refused",
    } == found  # fmt: skip


def test_an_age_is_a_moment() -> None:
    before = datetime.now(UTC) - timedelta(hours=2)
    since = read_text("since:2h")["since"]

    assert since is not None
    assert before <= since <= before + timedelta(minutes=1)


def test_an_empty_text_is_no_filter() -> None:
    assert {} == read_text("   ")


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("sate:failed", "'sate:failed' is no filter", "did you mean: state:failed"),
        ("timeout", "'timeout' is no filter", "did you mean: error:timeout"),
        ("state:faild", "state: 'faild' is not a state of jobs", "did you mean: state:failed"),
        ("since:soon", "since: 'soon' is neither a duration nor a moment", "since:2h"),
        ("kind:", "kind: has no value", "kind:email"),
        ("kind:a kind:b", "kind: 'b' is given twice", "leave one"),
        ("args.=3", "'args.=3' cannot be read", "args.customer=42"),
    ],
)
def test_what_cannot_be_read_says_what_would_be(text, what, hint) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_text(text)

    assert what == str(caught.value)
    assert hint in (caught.value.hint or "")


@given(NAMES.filter(bool))
def test_any_name_that_is_added_is_read_back(name) -> None:
    assert {"states": ["failed"], "kind": name} == read_text(
        add_word("state:failed kind:old", "kind", name)
    )


@given(st.text(max_size=60))
def test_no_text_is_worse_than_refused(text) -> None:
    try:
        read_text(text)
    except InvalidInput:
        pass


def test_words_are_completed_by_what_is_known() -> None:
    names = {"kind": ["email", "export"], "tag": ["nightly"]}

    assert ["state:failed kind:email", "state:failed kind:export"] == complete_filter(
        "state:failed kind:e", names
    )
    assert ["kind:"] == complete_filter("ki", names)
    assert ["args."] == complete_filter("a", names)
    assert ["since:2h", "since:24h"] == complete_filter("since:2", names)
    assert ["state:failed,running", "state:failed,retryable"] == complete_filter(
        "state:failed,r", names
    )
    assert [] == complete_filter("kind:email", names)


def test_only_fields_of_the_list_are_completed_and_offered() -> None:
    assert [] == complete_filter("s", {}, Read.DEAD_LETTERS)
    assert ["tag:"] == complete_filter("t", {}, Read.DEAD_LETTERS)
    assert [] == complete_filter("a", {}, Read.ACTIVITY)

    with pytest.raises(InvalidInput) as caught:
        text_pairs("timeout", Read.DEAD_LETTERS)

    assert "filters are kind:, queue:, tag:, failure:" == caught.value.why
    assert caught.value.hint is None


def test_workflows_and_tasks_have_states_of_their_own() -> None:
    assert {"state": "open", "name": "a b"} == read_text('state:open name:"a b"', Read.WORKFLOWS)
    assert {"state": "skipped", "group": "x"} == read_text("group:x state:skipped", Read.TASKS)
    assert ["state:open"] == complete_filter("state:o", {}, Read.WORKFLOWS)
    assert ["state:skipped"] == complete_filter("state:sk", {}, Read.TASKS)
    for text, read, hint in (
        ("state:opne", Read.WORKFLOWS, "did you mean: state:open"),
        ("state:open", Read.TASKS, None),
        ("name:x", Read.JOBS, "did you mean: error:x"),
        ("state:open,failed", Read.WORKFLOWS, "leave one out"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read_text(text, read)
        assert caught.value.hint == hint


def test_quotes_in_a_path_hold_a_name_together() -> None:
    assert {"args": {"a b": {"c": 1}}} == read_text('args."a b.c"=1')
