"""Arguments to JSON: what is written, and what is refused with the path to it."""

from __future__ import annotations

import json
import math
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import pydantic
import pytest

from awa_lib import _json
from awa_lib.codec import encode as codec_encode
from awa_lib.codec.encode import encode, encode_object, to_json
from awa_lib.errors import SerializationError, ValidationError

WRITERS = [codec_encode._quick_json] + (
    [] if _json.orjson is None else [codec_encode._quick_orjson]
)


@pytest.fixture(autouse=True, params=WRITERS, ids=lambda writer: writer.__name__[7:])
def writer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any], str | None]:
    """Every test runs with and without orjson."""
    monkeypatch.setattr(codec_encode, "_quick", request.param)
    return request.param


class Color(Enum):
    RED = "red"
    WHEN = date(2024, 2, 3)


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Mixed(str, Enum):  # noqa: UP042 - the old style, whose str() differs
    KEY = "key"


class Point(NamedTuple):
    x: int
    y: float


class Model(pydantic.BaseModel):
    at: datetime
    tags: list[str] = []


@dataclass
class Inner:
    n: int
    _private: int = 0


@dataclass(slots=True)
class Slotted:
    value: Any
    inner: Inner | None = None


@dataclass
class Outer:
    inner: Inner
    items: list[Inner] = field(default_factory=list)


class Whole(int):
    pass


class Label(str):
    __slots__ = ()


CASES: list[tuple[Any, Any]] = [
    (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "2024-01-02T03:04:05.000006+00:00"),
    (datetime(2024, 1, 2, 3, 4), "2024-01-02T03:04:00"),
    (datetime(900, 1, 2, tzinfo=timezone(timedelta(seconds=61))), "0900-01-02T00:00:00+00:01:01"),
    (date(2024, 1, 2), "2024-01-02"),
    (time(3, 4), "03:04:00"),
    (timedelta(minutes=1, microseconds=1), 60.000001),
    (timedelta(days=-1), -86400.0),
    (timedelta(days=-99421, microseconds=1), "-8589974399.999999"),
    (timedelta.max, "86399999999999.999999"),
    (timedelta.min, -86399999913600.0),
    (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    (Decimal("1.10"), "1.10"),
    (Color.RED, "red"),
    (Color.WHEN, "2024-02-03"),
    (Level.HIGH, 3),
    (Word.YES, "yes"),
    (Mixed.KEY, "key"),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    (set(), []),
    ((1, (2, "x")), [1, [2, "x"]]),
    (Point(1, 2.5), [1, 2.5]),
    (Inner(1, 2), {"n": 1, "_private": 2}),
    (Slotted(1), {"value": 1, "inner": None}),
    (Model(at=datetime(2024, 1, 1)), {"at": "2024-01-01T00:00:00", "tags": []}),
    (MappingProxyType({"a": 1}), {"a": 1}),
    (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    ({Word.YES: 1}, {"yes": 1}),
    ({Mixed.KEY: 1}, {"key": 1}),
    (Whole(5), 5),
    (Label("x"), "x"),
    (2**64 - 1, 2**64 - 1),
    (-(2**63), -(2**63)),
    (1.78e308, 1.78e308),
    (5e-324, 5e-324),
    (-0.0, -0.0),
    (None, None),
    ("\\u0000 is not a NUL, 1e308 no number", "\\u0000 is not a NUL, 1e308 no number"),
    ("é\u2028😀\x7f\x01", "é\u2028😀\x7f\x01"),
]


@pytest.mark.parametrize(
    ("value", "data"),
    CASES,
    ids=[f"{i}-{type(value).__name__}" for i, (value, _) in enumerate(CASES)],
)
def test_value_is_written(value: Any, data: Any) -> None:
    expected = json.dumps({"v": data})

    assert json.dumps(json.loads(encode({"v": value}))) == expected
    assert json.dumps(json.loads(encode({"v": [value]}))) == json.dumps({"v": [data]})
    assert json.dumps(json.loads(encode(Slotted(value)))) == json.dumps(
        {"value": data, "inner": None}
    )
    assert json.dumps({"v": to_json(value)}) == expected


def test_dataclass_and_model_and_dict_are_taken() -> None:
    outer = Outer(Inner(1), [Inner(2), Inner(3)])

    assert json.loads(encode(outer)) == {
        "inner": {"n": 1, "_private": 0},
        "items": [{"n": 2, "_private": 0}, {"n": 3, "_private": 0}],
    }
    assert json.loads(encode(Model(at=datetime(2024, 1, 1), tags=["a"]))) == {
        "at": "2024-01-01T00:00:00", "tags": ["a"],
    }  # fmt: skip
    assert encode({}) == "{}"
    assert encode({"a": 1, "é": [True, None]}) == '{"a":1,"é":[true,null]}'
    assert encode(MappingProxyType({"a": 1})) == '{"a":1}'


@pytest.mark.parametrize("given", [[1], "text", 7, None, (), {1}, Inner, Model, object()])
def test_other_types_are_refused(given: Any) -> None:
    with pytest.raises(
        ValidationError, match="Job args must be a dataclass, pydantic BaseModel, or dict"
    ) as caught:
        encode(given)

    assert caught.value.why is not None
    assert caught.value.why.startswith("got ")


def chain(depth: int) -> dict[str, Any]:
    return {"a": chain(depth - 1)} if depth > 1 else {}


BAD: list[tuple[Any, str]] = [
    (math.nan, "v: NaN cannot be stored in JSON"),
    (math.inf, "v: Infinity cannot be stored in JSON"),
    ([1.0, -math.inf], "v[1]: -Infinity cannot be stored in JSON"),
    (sys.float_info.max, "v: 1.7976931348623157e+308 is too close to infinity"),
    (2**64, "v: an int of 65 bits does not fit 64"),
    (-(2**63) - 1, "v: an int of 64 bits does not fit 64"),
    (10**5000, "v: an int of 16610 bits does not fit 64"),
    (
        {"a": [{"b": "x\x00y"}]},
        "v.a[0].b: text with a NUL character: Postgres cannot store null bytes",
    ),
    ({"a\x00": 1}, "v key 'a\\x00': text with a NUL character"),
    ("\ud800", "v: text with a lone surrogate"),
    ({"\udfff": 1}, "v key '\\udfff': text with a lone surrogate"),
    ({1: 2}, "v: key 1 is not text"),
    ({"a": {None: 2}}, "v.a: key None is not text"),
    ({True: 2}, "v: key True is not text"),
    ({(1, 2): 3}, "v: key (1, 2) is not text"),
    (Decimal("NaN"), "v: Decimal NaN cannot be stored in JSON"),
    ([Decimal("-Infinity")], "v[0]: Decimal -Infinity cannot be stored in JSON"),
    (b"raw", "v: bytes is not a JSON type"),
    (Inner, "v: type is not a JSON type"),
    ([object()], "v[0]: object is not a JSON type"),
    (1j, "v: complex is not a JSON type"),
    ({math.inf}, "v{}: Infinity cannot be stored"),
    (Slotted({1: 2}), "v.value: key 1 is not text"),
    (Outer(Inner(math.nan)), "v.inner.n: NaN cannot be stored"),
]


@pytest.mark.parametrize(("value", "message"), BAD, ids=[message for _, message in BAD])
def test_unreadable_value_is_refused_with_its_path(value: Any, message: str) -> None:
    with pytest.raises(SerializationError) as caught:
        encode({"ok": 1, "v": value})
    assert str(caught.value).startswith(f"args.{message}")
    assert caught.value.why

    with pytest.raises(SerializationError) as caught:
        encode(Slotted({"v": value}))
    assert str(caught.value).startswith(f"args.value.{message}")

    with pytest.raises(SerializationError) as caught:
        encode_object({"v": value}, name="metadata")
    assert str(caught.value).startswith(f"metadata.{message}")


def test_depth_of_64_is_the_limit() -> None:
    assert encode(chain(64)).count("{") == 64
    with pytest.raises(SerializationError, match=r"args\.a\.a.*nested deeper than 64 levels"):
        encode(chain(65))
    wide = {"rows": [{"id": i} for i in range(200)]}
    assert json.loads(encode(wide)) == wide


def test_cycle_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["me"] = [loop]
    knot = Slotted(None)
    knot.value = knot

    for value in (loop, knot, {"rows": [{}] * 100, "loop": loop}):
        with pytest.raises(SerializationError, match="nested deeper than 64 levels"):
            encode(value)


def test_quick_writer_settles_common_args(writer: Callable[[Any], str | None]) -> None:
    """What most programs send never takes the slow walk."""
    common = [
        {"n": 1}, {"a": "x", "b": 1.5, "c": None, "d": [1, 2], "e": {"f": True}}, Inner(1),
        Outer(Inner(1), [Inner(2)]), {"id": UUID(int=1), "at": datetime.now(UTC), "k": Color.RED},
        {"rows": [{"id": i, "tags": ["a"]} for i in range(100)]},
    ]  # fmt: skip

    for value in common:
        assert writer(value) is not None


@pytest.mark.parametrize("given", [[1], "x", None, 3, [("a", 1)], Inner(1)])
def test_metadata_must_be_a_dict(given: Any) -> None:
    with pytest.raises(
        ValidationError, match=f"metadata must be a dict, got {type(given).__name__}"
    ):
        encode_object(given, name="metadata")
