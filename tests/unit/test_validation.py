"""Errors about names and words stay readable, whatever was given."""

from __future__ import annotations

import time

import pytest

from awa_lib.errors import ValidationError
from awa_lib.validation import name_of, text_of, unknown_word


@pytest.mark.parametrize(
    "value", ["x" * 1_000_000, "\x00" * 1_000_000, b"x" * 1_000_000, ["x"] * 1_000_000]
)
def test_a_name_of_a_megabyte_is_not_quoted_whole(value: object) -> None:
    with pytest.raises(ValidationError) as refused:
        name_of("name of a step", value)

    assert len(str(refused.value)) < 1_000
    assert str(refused.value).startswith("name of a step must be text of at most 200 characters: ")


def test_the_size_of_a_long_text_is_said() -> None:
    with pytest.raises(ValidationError) as refused:
        text_of("queue", "é" * 4_321, 200)

    assert str(refused.value).endswith("é'… (4,321 characters)")


def test_a_name_that_is_allowed_is_quoted_whole() -> None:
    with pytest.raises(ValidationError) as refused:
        text_of("key", "k" * 199 + "\x00", 200)

    assert repr("k" * 199 + "\x00") in str(refused.value)


def test_an_unknown_word_among_very_many() -> None:
    known = [f"step_{n}" for n in range(100_000)]
    began = time.monotonic()
    error = unknown_word("no task 'step_77x'", "step_77x", known)

    assert time.monotonic() - began < 2
    assert len(str(error.why)) < 2_000
    assert str(error.why).endswith(" and 99,950 more")
    assert "did you mean: step_77" in str(error.hint)
