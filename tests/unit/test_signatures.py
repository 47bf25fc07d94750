"""Signatures of callbacks: the golden value, and what a request signature covers."""

from __future__ import annotations

import re
import time

import pytest

import awa_lib as awa
from awa_lib._sql import Rows
from awa_lib.callbacks.signatures import sign_callback_request, verify_callback_request
from awa_lib.errors import ValidationError

KEY = bytes([1]) * 32
ID = "00000000-0000-0000-0000-000000000000"
GOLDEN = "0188ba6647bd278b5fe59c0457aa27c621334a397eec9d1a3c0a9d5d22eba15d"


def test_golden_signature() -> None:
    assert awa.sign_callback(KEY, ID) == GOLDEN
    assert awa.sign_callback(KEY.hex(), ID) == GOLDEN


@pytest.mark.parametrize(
    ("callback_id", "signature", "right"),
    [
        (ID, GOLDEN, True),
        (ID, GOLDEN.upper(), True),
        (ID.replace("0", "1", 1), GOLDEN, False),
        (ID, GOLDEN[:-1] + "e", False),
        (ID, "", False),
        (ID, "ä", False),
    ],
)
def test_verify(callback_id: str, signature: str, right: bool) -> None:
    assert awa.verify_callback_signature(KEY, callback_id, signature) is right


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        (b"short", "must be 32 bytes, or 64 hex digits: got 5"),
        ("zz" * 32, "is not 64 hex digits"),
        ("ab" * 31, "must be 32 bytes, or 64 hex digits: got 31"),
        (7, "must be 32 bytes, or 64 hex digits: got int"),
    ],
)
def test_bad_secret(secret, message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)) as raised:
        awa.sign_callback(secret, ID)

    assert str(secret) not in str(raised.value) or secret == 7


def verified(signature: str, *, action="complete", callback_id=ID, body=b"{}", fresh=True) -> bool:
    """Feed the op; ``fresh`` is what the table says of the signature."""
    op = verify_callback_request(KEY, callback_id, action, body, signature)
    try:
        next(op)
        op.send(Rows([(b"s",)] if fresh else []))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("one statement is enough")


def test_request_signature_covers_everything() -> None:
    signature = sign_callback_request(KEY, ID, "complete", b"{}")

    assert verified(signature)
    assert not verified(signature, fresh=False)
    assert not verified(signature, action="fail")
    assert not verified(signature, body=b"{ }")
    assert not verified(signature, callback_id=ID.replace("0", "1", 1))
    assert not verified(signature[:-1] + ("0" if signature[-1] != "0" else "1"))
    assert not verified(re.sub("t=", "t=1", signature))
    assert not verified("nonsense")
    assert not verified(GOLDEN)


@pytest.mark.parametrize(("age", "right"), [(290, True), (310, False), (-290, True), (-310, False)])
def test_request_signature_is_valid_for_five_minutes(age: int, right: bool) -> None:
    signature = sign_callback_request(KEY, ID, "complete", b"{}", now=time.time() - age)

    assert verified(signature) is right
