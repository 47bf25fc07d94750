"""The filter of the monitor: one line of text that says which jobs."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.filters.text import (
    add_word,
    complete_filter,
    filter_line,
    filter_params,
    read_filter,
)
from awa_lib.errors import InvalidInput

NAMES = st.text(string.ascii_letters + string.digits + "_-.: \"'\\é", min_size=1, max_size=20).map(
    str.strip
)


def given_parts(text: str) -> dict[str, object]:
    return {name: value for name, value in read_filter(text).items() if value not in (None, [])}


def test_each_word_narrows_the_filter() -> None:
    found = given_parts(
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
    since = read_filter("since:2h")["since"]

    assert since is not None
    assert before <= since <= before + timedelta(minutes=1)


def test_an_empty_text_is_no_filter() -> None:
    assert {} == given_parts("   ")


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("sate:failed", "'sate:failed' is no filter", "did you mean: state:failed"),
        ("timeout", "'timeout' is no filter", "did you mean: error:timeout"),
        ("state:faild", "unknown job state: faild", "did you mean: state:failed"),
        ("since:soon", "since: 'soon' is neither a duration nor a moment", "since:2h"),
        ("kind:", "kind: has no value", "kind:email"),
        ("kind:a kind:b", "kind: is given twice", "leave one"),
        ("args.=3", "'args.=3' cannot be read", "args.customer=42"),
    ],
)
def test_what_cannot_be_read_says_what_would_be(text, what, hint) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_filter(text)

    assert what == str(caught.value)
    assert hint in (caught.value.hint or "")
    assert "--" not in f"{caught.value.hint}{caught.value}"


@given(NAMES.filter(bool))
def test_any_name_that_is_added_is_read_back(name) -> None:
    assert {"states": ["failed"], "kind": name} == given_parts(
        add_word("state:failed kind:old", "kind", name)
    )


@given(st.text(max_size=60))
def test_no_text_is_worse_than_refused(text) -> None:
    try:
        read_filter(text)
    except InvalidInput:
        pass


def test_words_are_completed_by_what_is_known() -> None:
    names = {"kind": ["email", "export"], "tag": ["nightly"]}

    assert ["state:failed kind:email", "state:failed kind:export"] == complete_filter(
        "state:failed kind:e", names
    )
    assert ["kind:"] == complete_filter("ki", names)
    assert ["state:failed,running", "state:failed,retryable"] == complete_filter(
        "state:failed,r", names
    )
    assert [] == complete_filter("kind:email", names)


VALUES = st.text(string.ascii_letters + string.digits + "_-.: \"'\\é", min_size=1, max_size=20)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "state": st.lists(st.sampled_from(["failed", "running"]), min_size=1, unique=True),
            "kind": VALUES.map(lambda one: [one]),
            "error": VALUES.map(lambda one: [one]),
            "since": st.just(["2h"]),
            "where": st.lists(
                VALUES.map(lambda one: f"args.x={one}") | st.just('metadata.y={"a": [1, "b c"]}'),
                min_size=1, max_size=2,
            ),
        },
    )
)  # fmt: skip
def test_options_become_a_line_that_means_the_same(params) -> None:
    from awa_cli.parser.job_options import read_query

    found = filter_params(filter_line(params))

    conditions = [params.pop("where", []), found.pop("where", [])]
    assert found == params
    if len({one.partition("=")[0] for one in conditions[0]}) == len(conditions[0]):
        before, after = (read_query(where=one) for one in conditions)
        assert before == after
