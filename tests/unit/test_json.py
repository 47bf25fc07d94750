"""JSON text: both parsers give the same, both writers of arguments too."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from awa_lib import _json
from awa_lib.codec import encode

needs_orjson = pytest.mark.skipif(_json.orjson is None, reason="orjson is not installed")
SURROGATES = ("Cs",)
texts = st.text(st.characters(exclude_categories=SURROGATES))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def same(a: Any, b: Any) -> bool:
    """Compare with types: 1, 1.0 and True are three values."""
    return repr(a) == repr(b)


@settings(deadline=None)
@given(plain)
@example(2**64)
@example(-(2**63) - 1)
@example([10**18, 10**19, 10**400])
@example(1.7976931348623157e308)
def test_dumps_and_both_loads_round_trip(value: Any) -> None:
    text = _json.dumps(value)

    assert same(value, _json._loads_json(text))
    assert same(value, _json.loads(text))
    if _json.orjson is not None:
        assert same(value, _json._loads_orjson(text))


@needs_orjson
@pytest.mark.parametrize(
    "text",
    ["18446744073709551616", "-9223372036854775809", "1e400", "-1e400", "1" + "0" * 400,
     "1.50", "1E5", "-0", "-0.0", " [1 , 2]\n", '"\\u00e9\\n"', '{"a":1,"a":2}'],
)  # fmt: skip
def test_parsers_agree_on_foreign_text(text: str) -> None:
    assert same(_json._loads_json(text), _json._loads_orjson(text))


@pytest.mark.parametrize("text", ["", "[1,]", "{'a':1}", "nul", "[1", '"\n"'])
def test_parsers_refuse_the_same(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        _json.loads(text)
    with pytest.raises(json.JSONDecodeError):
        _json._loads_json(text)


def test_integer_too_long_for_python_is_read() -> None:
    """Such a row, written by another program, must not stop who lists it."""
    assert _json.loads("1" + "0" * 5000) == "1" + "0" * 5000
    assert _json.loads(f"[{'1' * 400}.5, 1.5]") == ["1" * 400 + ".5", 1.5]
    assert _json.loads('{"n":1' + "0" * 400 + "}") == {"n": 10**400}


@pytest.mark.parametrize("bad", [math.nan, math.inf, [-math.inf], {1, 2}, object()])
def test_dumps_refuses(bad: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        _json.dumps(bad)


@needs_orjson
@settings(deadline=None)
@given(st.dictionaries(texts, plain, max_size=5))
@example({"a": None, "b": 1.5})
@example({"a": "\x00"})
@example({"a": 1.7976931348623157e308})
@example({"a": 2**64})
@example({"a": [{"b": i} for i in range(70)]})
def test_quick_writers_agree(value: dict[str, Any]) -> None:
    """The text may differ in how a float is spelled, the data may not."""
    by_orjson, by_json = encode._quick_orjson(value), encode._quick_json(value)

    assert (by_orjson is None) == (by_json is None)
    if by_orjson is not None and by_json is not None:
        assert same(json.loads(by_orjson), json.loads(by_json))
