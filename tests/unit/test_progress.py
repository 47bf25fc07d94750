"""Progress as a snapshot: what is noted, what is kept of the row, and what is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import awa_lib as awa
from awa_lib.runtime.progress import EMPTY, Progress

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab"\\é'), inner),
    max_leaves=5,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text('ab"\\é', max_size=3), PLAIN, max_size=4)


@given(OBJECTS, st.lists(OBJECTS, max_size=3), st.none() | st.text('ab"\\'))
def test_text_is_that_of_the_merged_object(row, updates, message) -> None:
    row.pop("metadata", None)
    want = {**row, "metadata": {}}
    progress = Progress.of_text(json.dumps(want))
    assert progress is not None
    for update in updates:
        progress = progress.with_metadata(update)
        want["metadata"] |= update
    assert json.loads(progress.text) == progress.value == want
    noted = {"percent": 5} if message is None else {"percent": 5, "message": message}
    assert progress.with_percent(5, message).value == {**noted, "metadata": want["metadata"]}


def test_what_a_row_holds_is_read_when_something_is_noted_only() -> None:
    deep = '{"metadata": ' + "[" * 100_000 + "]" * 100_000 + "}"
    progress = Progress.of_text(deep)
    assert progress is not None
    assert progress.text == deep
    with pytest.raises(
        awa.SerializationError, match="the stored progress of the job cannot be read"
    ):
        progress.with_metadata({"a": 1})


@pytest.mark.parametrize("text", ["[1]", "7", "null", "{}"])
def test_a_row_without_an_object_begins_anew(text: str) -> None:
    progress = Progress.of_text(text)
    assert progress is not None
    assert progress.with_metadata({"a": 1}).value == {"metadata": {"a": 1}}


def test_metadata_that_is_no_object_is_kept() -> None:
    progress = Progress.of_text('{"percent": 1, "metadata": [1]}')
    assert progress is not None
    assert progress.with_percent(2, None).value == {"percent": 2, "metadata": [1]}
    with pytest.raises(RuntimeError, match="progress metadata is not an object"):
        progress.with_metadata({"a": 1})


def test_nothing_yet() -> None:
    assert Progress.of_text(None) is None
    assert EMPTY.with_percent(3, None).text == '{"percent":3}'
