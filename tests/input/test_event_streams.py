"""Bytes on stdin and in files that are no text: a sentence, and the status of a wrong use."""

from __future__ import annotations

import subprocess

import pytest
from fix_cli import argv, environment

# A locale in which Python reads text strictly, as on most machines.
STRICT = {"PYTHONIOENCODING": "utf-8:strict"}


@pytest.mark.parametrize(
    "words",
    [
        ["job", "enqueue", "k", "--args", "-"],
        ["job", "enqueue", "k", "--ndjson", "-"],
        ["job", "cancel", "-", "--yes"],
        ["job", "retry", "-"],
        ["cron", "apply", "-f", "-", "--yes"],
        ["callback", "complete", "8feaec61-ea03-4e4c-ab3d-f63350329dc6", "--payload", "-"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
@pytest.mark.parametrize(
    "raw", [b"\xff\xfe\x00", b"[" * 5_000, b"9" * 5_000, b"\x00", b"{" * 5_000]
)
def test_stdin_is_refused_with_a_sentence(database_url, words, raw) -> None:
    ran = subprocess.run(
        argv(*words),
        env=environment(database_url, **STRICT),
        input=raw,
        capture_output=True,
        timeout=60,
    )
    said = ran.stderr.decode()

    assert ran.returncode == 2, said
    assert "error: " in said
    assert "missing option" not in said
    assert "Traceback" not in said
    assert "a bug in awa" not in said
