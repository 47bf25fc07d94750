"""Unique keys: the published vectors, and the canonical text behind them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from awa_lib.enqueue.unique import UniqueOptions, canonical_json, states_bits, unique_key
from awa_lib.errors import ValidationError

texts = st.text(st.characters(exclude_categories=("Cs",)))
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "parts", "key"),
    [
        ("uk", {"args": {"b": 1, "a": {"z": 1.0, "y": [1, 2, None, True]}}},
         "6d7c54bdb988c40ea20e2de82fac8aef"),
        ("uk", {"queue": "uq", "args": {"a": 1}}, "4f71dbca0591045af59775f7a250b665"),
        ("uk", {}, "3caaa80ceb190e6489a98244cf8065cb"),
        ("uk", {"queue": "uq", "period": 12345}, "d076bb0f8c562ed68381e5b13b55ffda"),
        ("uk", {"args": {"a": 1}, "period": -2}, "41856b30e7ba57c4150b27cbe59c5d88"),
        ("uk", {"args": {}}, "3032b8fda2c65e4abead60b04dba45e9"),
        ("uk", {"args": {"inf": None, "nan": None}}, "b89756bca06945b85bb65cfe95bd3f71"),
        ("send_email", {"args": {"subject": "x", "to": "u"}}, "524ce52ccbac415fa763f9dc735dc2a2"),
    ],
)  # fmt: skip
def test_key_golden(kind: str, parts: dict[str, Any], key: str) -> None:
    assert unique_key(kind, **parts).hex() == key


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e15, "1000000000000000.0"), (1e16, "1e+16"), (1.5e300, "1.5e+300"),
        (12345678901234568.0, "1.2345678901234568e+16"), (1e-5, "0.00001"),
        (0.0000999, "0.0000999"), (-1.25e-5, "-0.0000125"), (1e-6, "1e-6"), (9.99e-6, "9.99e-6"),
        (1e-7, "1e-7"), (5e-324, "5e-324"), (-0.0, "-0.0"), (0.0, "0.0"), (0.1, "0.1"),
        (2**63, "9.223372036854776e+18"), (2**63 - 1, "9223372036854775807"), (True, "true"),
        ('/"\\\b\f\n\r\t\x01\x1f\x7f\u2028é', '"/\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\u2028é"'),
        ({"b": [], "a": {}, "é": 1, "Z": None}, '{"Z":null,"a":{},"b":[],"é":1}'),
    ],
)  # fmt: skip
def test_canonical_text(value: Any, text: str) -> None:
    assert canonical_json(value) == text


@settings(deadline=None)
@given(plain)
def test_canonical_text_holds_the_same_value(value: Any) -> None:
    assert repr(json.loads(canonical_json(value))) == repr(in_order(value))


def in_order(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: in_order(value[key]) for key in sorted(value)}
    return [in_order(item) for item in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_float_notation(value: float) -> None:
    """Fixed from 1e-5 to 1e16, an exponent with a sign and without padding elsewhere."""
    text = canonical_json(value)

    fixed = value == 0 or 1e-5 <= abs(value) < 1e16
    assert ("e" not in text) == fixed
    if not fixed:
        exponent = text.partition("e")[2]
        assert exponent in {f"{int(exponent):+d}"}
        assert ".0e" not in text


@pytest.mark.parametrize(
    ("mask", "bits"), [(31, "11111000"), (1, "10000000"), (255, "11111111"), (0, "00000000")]
)
def test_states_bits(mask: int, bits: str) -> None:
    assert states_bits(mask) == bits


def test_options_default_and_given() -> None:
    assert UniqueOptions.parse({}) == UniqueOptions(False, True, None, 31)
    assert UniqueOptions.parse(
        {"by_queue": True, "by_args": False, "by_period": -(2**63), "states": 0}
    ) == UniqueOptions(True, False, -(2**63), 0)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"by_arg": True}, "unknown unique_opts key 'by_arg'", "did you mean: by_args"),
        ({"state": 3}, "unknown unique_opts key 'state'", "did you mean: states"),
        ({"zzz": 3}, "unknown unique_opts key 'zzz'", "by_queue, by_args, by_period, states"),
        ({1: 3}, "unknown unique_opts key 1", "valid:"),
        ({"by_queue": "yes"}, "by_queue must be True or False", None),
        ({"by_args": 1}, "by_args must be True or False", None),
        ({"by_period": 2**63}, "by_period must be a whole number of at most 64", None),
        ({"by_period": 1.0}, "by_period must be a whole number of at most 64", None),
        ({"states": 256}, "states must be a mask", None),
        ({"states": -1}, "states must be a mask", None),
        ({"states": True}, "states must be a mask", None),
        (["by_args"], "unique_opts must be a dict, got list", None),
        (None, "unique_opts must be a dict, got NoneType", None),
    ],
)
def test_options_refused(given: Any, message: str, hint: str | None) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        UniqueOptions.parse(given)

    if hint is not None:
        assert hint in f"{caught.value.why} {caught.value.hint}"


def test_absent_parts_differ_from_empty_ones() -> None:
    keys = {
        unique_key("k"), unique_key("k", queue=""), unique_key("k", args=None),
        unique_key("k", args={}), unique_key("k", period=0), unique_key("k", args=math.pi),
    }  # fmt: skip

    assert len(keys) == 6
    assert {len(key) for key in keys} == {16}
