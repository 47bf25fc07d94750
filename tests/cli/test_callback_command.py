"""``awa callback``: answers, and signatures of requests."""

from __future__ import annotations

import pytest

KEY = "07" * 32
CALLBACK = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"


@pytest.fixture
def waiting(add) -> int:
    return add("waiting_external", callback_id=CALLBACK, callback_timeout_at="2100-01-01T00:00Z")


@pytest.mark.parametrize(
    ("line", "says", "state"),
    [
        (["complete", CALLBACK, "--payload", '{"paid": true}'], "Completed", "completed"),
        (["fail", CALLBACK, "--error", "declined"], "Failed", "failed"),
        (["retry", CALLBACK], "Retried", "available"),
        (["heartbeat", CALLBACK, "--timeout", "2h"], "Extended", "waiting_external"),
    ],
)
def test_callbacks_are_answered(cli, waiting, line, says, state) -> None:
    ran = cli("callback", *line)
    assert (ran.status, ran.out) == (0, f"{says} job {waiting}; its state is {state}\n")
    job = cli("job", "show", waiting, "-o", "json").data["job"]
    assert job["state"] == state
    if state == "completed":
        assert job["metadata"]["_awa_callback_result"] == {"paid": True}
    if state == "failed":
        assert "declined" in job["errors"][0]["error"]


def test_a_callback_is_resumed(cli, waiting) -> None:
    ran = cli("callback", "resume", CALLBACK, "--payload", "[1]")
    assert ran.status == 0
    assert ran.out.startswith(f"Resumed job {waiting}; its state is ")


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        (["complete", "x"], 2, "UUID"),
        (["complete", CALLBACK], 1, "callback not found"),
        (["complete", CALLBACK, "--payload", "{"], 2, "--payload is not JSON"),
        (["heartbeat", CALLBACK, "--timeout", "soon"], 2, "is not a duration"),
        (["fail", CALLBACK], 2, "missing option '--error'"),
    ],
)
def test_bad_answers(cli, line, status, says) -> None:
    ran = cli("callback", *line)
    assert (ran.status, ran.out) == (status, "")
    assert says in ran.err


def test_signatures(cli, offline, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("AWA_CALLBACK_HMAC_SECRET", KEY)
    signature = offline("callback", "sign", CALLBACK).out.strip()
    assert len(signature) == 64
    assert offline("callback", "verify", CALLBACK, signature).status == 0
    wrong = offline("callback", "verify", CALLBACK, "0" * 64)
    assert (wrong.status, wrong.out) == (6, "The signature is wrong, expired or already used\n")

    body = tmp_path / "body"
    body.write_text('{"ok": true}')
    header = offline("callback", "sign", CALLBACK, "--action", "complete", "--body", f"@{body}")
    line = ["callback", "verify", CALLBACK, header.out.strip(), "--action", "complete"]
    assert cli(*line, "--body", "{}").status == 6
    assert cli(*line, "--body", f"@{body}").status == 0
    assert cli(*line, "--body", f"@{body}").status == 6  # good once


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "AWA_CALLBACK_HMAC_SECRET is not set"),
        (["--secret", KEY], "the value is not a reference"),
        (["--secret", "cmd:echo zz"], "not 64 hex digits"),
        (["--secret", f"cmd:echo {KEY}", "--action", "complet"], "did you mean: --action complete"),
    ],
)
def test_bad_secrets_are_not_repeated(offline, monkeypatch, options, says) -> None:
    monkeypatch.delenv("AWA_CALLBACK_HMAC_SECRET", raising=False)
    ran = offline("callback", "sign", CALLBACK, *options)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert KEY not in ran.err.replace(f"echo {KEY}", "")
