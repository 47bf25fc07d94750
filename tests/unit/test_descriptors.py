"""Descriptors of queues and kinds."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from awa_lib.descriptors import Descriptor
from awa_lib.errors import SerializationError, ValidationError


def test_hash_golden() -> None:
    full = Descriptor(display_name="Default Q", tags=["x"], extra={"b": 1, "a": [1, 2]})

    assert Descriptor().hash == "98814589427c8cd1487aad76a869406c82a4e9f81d96b635df78745848e09443"
    assert full.hash == "eb6b157f97748877b53efa4e6d94d080a87dc8b0b8aca4a637fca306dccd76a5"


def test_hash_changes_with_each_field() -> None:
    variants = [
        Descriptor(), Descriptor(display_name="a"), Descriptor(description="a"),
        Descriptor(owner="a"), Descriptor(docs_url="a"), Descriptor(tags=["a"]),
        Descriptor(extra={"a": 1}), Descriptor(extra={"a": 1.0}),
    ]  # fmt: skip

    assert len({variant.hash for variant in variants}) == len(variants)


def test_hash_of_typed_extra_is_that_of_its_json() -> None:
    typed = Descriptor(tags=["x"], extra={"since": date(2024, 1, 2)})

    assert typed.hash == Descriptor(tags=["x"], extra={"since": "2024-01-02"}).hash


@pytest.mark.parametrize(
    ("name", "most"), [("display_name", 200), ("description", 2000), ("owner", 200),
                       ("docs_url", 2048)],
)  # fmt: skip
def test_text_limits(name: str, most: int) -> None:
    assert getattr(Descriptor(**{name: "é" * most}), name) == "é" * most
    with pytest.raises(ValidationError, match=f"{name} must be text of at most {most}"):
        Descriptor(**{name: "é" * (most + 1)})
    with pytest.raises(ValidationError, match=name):
        Descriptor(**{name: 7})


@pytest.mark.parametrize("tags", [["x"] * 21, "abc", [1], None])
def test_tags_out_of_bounds(tags: Any) -> None:
    with pytest.raises(ValidationError, match="tags"):
        Descriptor(tags=tags)
    assert len(Descriptor(tags=["x"] * 20).tags) == 20


@pytest.mark.parametrize(
    ("fields", "path"),
    [({"owner": "a\x00b"}, "owner: text with a NUL"), ({"tags": ["\ud800"]}, r"tags\[0\]"),
     ({"extra": {"a": [float("nan")]}}, r"extra\.a\[0\]: NaN")],
)  # fmt: skip
def test_unstorable_values_are_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(SerializationError, match=path):
        Descriptor(**fields)


def test_extra_must_be_a_dict() -> None:
    with pytest.raises(ValidationError, match="extra must be a dict, got list"):
        Descriptor(extra=[1])  # type: ignore[arg-type] # the wrong type is the point
