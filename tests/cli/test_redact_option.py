"""``--redact``: values of args, metadata and progress are hidden in every command."""

from __future__ import annotations

SECRET = '{"password": "s3cret", "user": "u"}'


def test_values_are_hidden_in_commands(cli, add, monkeypatch) -> None:
    job_id = add("failed", args=SECRET, metadata=SECRET, progress=f'{{"metadata": {SECRET}}}')
    lines = [
        ["job", "list", "-o", "json"], ["job", "list", "-o", "wide"], ["job", "show", job_id],
        ["job", "dump", job_id], ["job", "dump-run", job_id], ["job", "list", "--all", "-o", "csv"],
    ]  # fmt: skip
    for line in lines:
        assert "s3cret" in cli(*line).out, line
        hidden = cli(*line, "--redact", "PASS")
        assert hidden.status == 0
        assert "s3cret" not in hidden.out, line
        assert "***" in hidden.out, line
    monkeypatch.setenv("AWA_REDACT", "password")
    assert "s3cret" not in cli("job", "dump", job_id).out
    cli("dlq", "move", job_id)
    for line in (["dlq", "list", "-o", "json"], ["dlq", "show", job_id]):
        assert "s3cret" not in cli(*line).out
    assert cli("job", "list", "--where", "args.password=s3cret").status == 2
