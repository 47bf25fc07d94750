"""Files and stdin as programs on Windows write them."""

from __future__ import annotations

import codecs
import json
import subprocess
from pathlib import Path

import pytest
from fix_cli import argv, environment

MARKED = {
    "utf-8 with a mark": codecs.BOM_UTF8 + '{"to": "Zoë"}\r\n'.encode(),
    "utf-16 little-endian": codecs.BOM_UTF16_LE + '{"to": "Zoë"}\r\n'.encode("utf-16-le"),
    "utf-16 big-endian": codecs.BOM_UTF16_BE + '{"to": "Zoë"}\r\n'.encode("utf-16-be"),
    "utf-8": '{"to": "Zoë"}\n'.encode(),
}


def run(url: str | None, *words: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        argv(*words), env=environment(url), input=given, capture_output=True, timeout=60
    )


@pytest.fixture
def stored(db):
    return lambda: db.execute("SELECT args FROM awa.jobs ORDER BY id").fetchall()


@pytest.mark.parametrize("raw", MARKED.values(), ids=MARKED)
def test_args_and_lines_are_read_with_and_without_a_mark(
    raw, tmp_path: Path, database_url, stored
) -> None:
    file = tmp_path / "args.json"
    file.write_bytes(raw)

    for words, given in (
        (("--args", f"@{file}"), b""),
        (("--args", "-"), raw),
        (("--ndjson", file), b""),
        (("--ndjson", "-"), raw),
    ):
        done = run(database_url, "job", "enqueue", "k", *words, given=given)
        assert done.returncode == 0, done.stderr

    assert stored() == [({"to": "Zoë"},)] * 4


def test_ids_and_schedules_and_the_config_are_read_with_a_mark(
    tmp_path: Path, database_url, add, db
) -> None:
    jobs = [add("failed"), add("failed")]
    ids = codecs.BOM_UTF8 + "".join(f"{one}\r\n" for one in jobs).encode()
    assert run(database_url, "job", "retry", "-", given=ids).returncode == 0

    schedules = tmp_path / "schedules.toml"
    schedules.write_bytes(
        codecs.BOM_UTF16_LE
        + '[[schedules]]\nname = "n"\ncron_expr = "0 0 * * *"\nkind = "k"\n'.encode("utf-16-le")
    )
    done = run(database_url, "cron", "apply", "--file", schedules, "--yes")
    assert done.returncode == 0, done.stderr

    config = Path(environment(None)["AWA_CONFIG"])
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_bytes(codecs.BOM_UTF8 + f'[contexts.w]\nurl = "{database_url}"\n'.encode())
    listed = run(None, "--context", "w", "cron", "list", "-o", "json")
    assert [one["name"] for one in json.loads(listed.stdout)] == ["n"]


def test_stdin_stays_open_for_a_question(tmp_path: Path, database_url, add) -> None:
    schedules = b'schedules:\n  - {name: n, cron_expr: "0 0 * * *", kind: k}\n'

    asked = run(database_url, "cron", "apply", "--file", "-", given=schedules)
    twice = run(database_url, "job", "retry", "-", "-", given=str(add("failed")).encode())

    assert asked.returncode == 2
    assert b"stdin is not a terminal" in asked.stderr
    assert (twice.returncode, b"a bug in awa" in twice.stderr) == (0, False)


def test_an_error_in_the_middle_says_what_is_done(database_url, add, db) -> None:
    ids = [add("failed") for _ in range(600)]
    db.execute(f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON awa.jobs_hot FOR EACH ROW
        WHEN (NEW.id = {ids[-1]} AND NEW.state = 'available') EXECUTE FUNCTION refuse()""")

    done = run(database_url, "job", "retry", "-", given="\n".join(map(str, ids)).encode())

    assert done.returncode != 0
    assert b"Stopped; retried 500 jobs." in done.stderr


def test_bytes_that_are_no_text_are_told_in_plain_words(tmp_path: Path, database_url) -> None:
    file = tmp_path / "latin1"
    file.write_bytes('{"to": "é"}'.encode("latin-1"))

    args = run(database_url, "job", "enqueue", "k", "--args", f"@{file}").stderr.decode()
    lines = run(database_url, "job", "enqueue", "k", "--ndjson", file).stderr.decode()

    assert "  why: it is not UTF-8: byte 0xe9 at 8\n" in args
    assert "   do: save it as UTF-8" in args
    assert "error: line 1 is not UTF-8\n  why: it has the byte 0xe9\n" in lines


def test_the_body_of_a_request_is_signed_byte_for_byte(tmp_path: Path, database_url) -> None:
    file = tmp_path / "body"
    file.write_bytes(codecs.BOM_UTF8 + b'{"a": 1}\r\n')
    callback = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"

    def ask(*words: object, given: bytes = b"") -> tuple[int, str]:
        done = subprocess.run(
            argv("callback", *words, "--action", "complete"),
            env=environment(database_url, AWA_CALLBACK_HMAC_SECRET="00" * 32),
            input=given, capture_output=True, timeout=60,
        )  # fmt: skip
        return done.returncode, done.stdout.decode().strip()

    status, signature = ask("sign", callback, "--body", f"@{file}")

    assert status == 0
    assert ask("verify", callback, signature, "--body", '{"a": 1}\n')[0] == 6
    given = file.read_bytes()
    assert ask("verify", callback, signature, "--body", "-", given=given)[0] == 0
