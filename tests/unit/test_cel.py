"""CEL expressions: what is refused at registration, and what a payload leads to."""

from __future__ import annotations

import pytest

from awa_lib.cel import Decision, Expressions, check, decide
from awa_lib.errors import ValidationError


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("payload.x ==", "invalid CEL expression for filter: .*Syntax error"),
        ("foo == 1", "CEL expression for filter references undeclared variable.s.: foo; only"),
        ("b && a", "undeclared variable.s.: a, b; only 'payload' is available"),
        ("x" * 2049, "has 2049 characters, 2048 at most"),
        (7, "must be text, got 7"),
        ("(" * 400 + "1" + ")" * 400, "invalid CEL expression for filter"),
    ],
)
def test_refused_at_registration(source, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        check(Expressions(filter=source))


def test_every_expression_is_checked() -> None:
    for name in ("filter", "on_complete", "on_fail", "transform"):
        with pytest.raises(ValidationError, match=f"for {name} "):
            check(Expressions(**{name: "nope"}))
    check(Expressions("payload.a > 1", "true", "has(payload.b)", "{'a': payload.a}"))


@pytest.mark.parametrize(
    ("source", "payload", "truth"),
    [
        ("payload.x == 1", {"x": 1}, True),
        ("payload.x == 1", {"x": 1.0}, True),
        ("payload.x > 0.5 && payload.x < 2", {"x": 1}, True),
        ("payload.x == -1", {"x": -1}, True),
        ("payload.x == 9223372036854775807", {"x": 2**63 - 1}, True),
        ("payload.x > 1", {"x": 2**64}, True),
        ("payload.x > 1", {"x": 10**400}, True),
        ("payload == null", None, True),
        ("payload.a[1].b == 'c'", {"a": [0, {"b": "c"}]}, True),
        ("payload.x == 1", {"x": "1"}, False),
    ],
)
def test_values_compare_as_people_expect(source, payload, truth) -> None:
    decision = decide(Expressions(on_complete=source), payload, "ignore")

    assert (decision.outcome == "completed") is truth


def test_order_filter_fail_complete_default() -> None:
    yes, no = "true", "false"

    assert decide(Expressions(no, yes, yes), 1, "fail").reason == "filter expression returned false"
    assert decide(Expressions(yes, yes, yes), 1, "ignore") == Decision(
        "failed", reason="callback failed: on_fail expression matched", expression="true"
    )
    assert decide(Expressions(yes, yes, no, "payload + 1"), 1, "ignore") == Decision("completed", 2)
    assert decide(Expressions(yes, no, no, "payload + 1"), 1, "complete") == Decision(
        "completed", 1
    )
    assert decide(Expressions(), 1, "fail").reason == "callback failed: default action"
    assert decide(Expressions(), 1, "ignore").reason == (
        "no expressions configured, default is ignore"
    )
    assert (
        decide(Expressions(yes), 1, "ignore").reason == "no expression matched, default is ignore"
    )


def test_what_cannot_be_evaluated_counts_as_not_written() -> None:
    broken = "payload.missing == 1"

    assert decide(Expressions(filter=broken), {}, "complete").outcome == "completed"
    assert decide(Expressions(on_fail=broken), {}, "ignore").outcome == "ignored"
    assert decide(Expressions(on_complete=broken), {}, "ignore").outcome == "ignored"
    assert decide(Expressions(on_complete="payload"), 1, "ignore").outcome == "ignored"
    assert decide(Expressions(on_complete="true", transform="payload.a"), {}, "fail").payload == {}


@pytest.mark.parametrize(
    "transform",
    [
        "timestamp('2030-01-01T00:00:00Z')",  # no JSON
        (
            "[1,2,3,4,5,6,7,8,9,0].map(a, [1,2,3,4,5,6,7,8,9,0].map(b, [1,2,3,4,5,6,7,8,9,0].map(c, "
            "[1,2,3,4,5,6,7,8,9,0].map(d, [1,2,3,4,5,6,7,8,9,0].map(e, [1,2,3,4,5,6,7,8,9,0])))))"
        ),
        "[payload, payload, payload]",  # too large
    ],
)
def test_unusable_result_of_a_transform_leaves_the_payload(transform: str) -> None:
    payload = "x" * 500_000

    decision = decide(Expressions(on_complete="true", transform=transform), payload, "ignore")

    assert decision.payload == payload
