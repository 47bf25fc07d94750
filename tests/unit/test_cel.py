"""CEL expressions: what is refused at registration, and what a payload leads to."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fix_wait import eventually

from awa_lib.callbacks import cel_helper
from awa_lib.callbacks.cel import Decision, Expressions, check, decide
from awa_lib.errors import AwaError, ValidationError


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


TOO_MUCH = [
    ("payload.map(x, payload)", list(range(9_000))),
    ("[payload]" + ".map(a, a + a)" * 12, "x" * 300_000),
    ("payload.all(a, payload.all(b, payload.all(c, payload.all(d, d > -1))))", list(range(400))),
]


@pytest.mark.parametrize(("source", "payload"), TOO_MUCH, ids=["lists", "doubling", "loops"])
def test_what_takes_too_much_counts_as_not_written(source, payload, caplog) -> None:
    """It is given up in time, costs this process nothing, and says so."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()

    decision = decide(Expressions(on_complete="true", transform=source), payload, "ignore")

    after = resource.getrusage(resource.RUSAGE_SELF)
    assert decision == Decision("completed", payload)
    assert time.monotonic() - began < 12
    assert after.ru_maxrss - before.ru_maxrss < 50_000
    assert after.ru_utime - before.ru_utime < 1
    if "all" not in source:
        assert "a CEL expression is ignored" in caplog.text
    assert decide(Expressions(on_complete="payload == 1"), 1, "ignore").outcome == "completed"


@pytest.mark.parametrize("name", ["filter", "on_fail", "on_complete"])
def test_each_expression_is_given_up_by_itself(name: str) -> None:
    bad = "[payload]" + ".map(a, a + a)" * 12 + " == []"
    given = {"on_complete": "true", name: bad}

    outcome = decide(Expressions(**given), "x" * 300_000, "fail").outcome

    assert outcome == ("failed" if name == "on_complete" else "completed")


def test_large_and_deep_payloads_count_as_not_evaluated(caplog) -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]

    for payload in ("x" * 2_000_000, deep):
        assert decide(Expressions(on_fail="true"), payload, "complete").outcome == "completed"
    assert "nested too deep, or has more than 1048576 characters" in caplog.text


def test_killed_helper_is_started_again() -> None:
    """As an operator, or the system short of memory, may end it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        assert decide(Expressions(on_complete="true"), 1, "ignore").outcome == "completed"
        process = cel_helper._helper.process
        assert process is not None
        process.send_signal(number)
        assert decide(Expressions(on_complete="true"), 1, "ignore").outcome == "completed"


def test_threads_and_forked_children_ask_at_once() -> None:
    def answer(n: int) -> str:
        return decide(Expressions(on_complete=f"payload == {n}"), n, "ignore").outcome

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(answer, range(100))) == {"completed"}
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, answer(7).encode())
        cel_helper._helper.stop()
        os._exit(0)
    assert answer(8) == "completed"
    assert os.read(reader, 100) == b"completed"
    os.waitpid(child, 0)
    os.close(reader)
    os.close(writer)
    assert answer(9) == "completed"


def test_no_python_to_evaluate_with_is_said(monkeypatch) -> None:
    monkeypatch.setattr(cel_helper, "_helper", cel_helper._Helper())
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    with pytest.raises(AwaError, match="could not be started"):
        decide(Expressions(filter="true"), 1, "ignore")


def test_helper_ends_with_its_process() -> None:
    source = (
        "from awa_lib.callbacks import cel, cel_helper\n"
        "cel.decide(cel.Expressions('true'), 1, 'ignore')\n"
        "print(cel_helper._helper.process.pid, flush=True)\n"
        "import os; os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, check=True)

    eventually(lambda: not _is_alive(int(done.stdout)))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
