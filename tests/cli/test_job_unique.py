"""``awa job enqueue`` of jobs whose unique key is taken, and of lines with a key of their own."""

from __future__ import annotations

import json
import time

import pytest
from test_completion import completed

import awa_lib as awa

LINE = ["job", "enqueue", "sync", "--unique", "args", "--args"]
FIRST, SECOND = '{"user": 7}', '{"user": 8}'


@pytest.fixture
def held(cli) -> int:
    """The id of a job that holds its key."""
    return cli(*LINE, FIRST, "-o", "json").data["id"]


def entries(cli) -> int:
    return len(cli("audit", "-o", "json").data)


def test_a_job_is_skipped(cli, held, rows) -> None:
    before = entries(cli)
    ran = cli(*LINE, FIRST, "--on-conflict", "skip")

    assert ran.status == 0
    assert ran.out == "Nothing was enqueued: another job holds the unique key\n"
    assert cli(*LINE, FIRST, "--on-conflict", "skip", "-o", "ids").out == ""
    shown = cli(*LINE, FIRST, "--on-conflict", "skip", "-o", "json").data
    assert shown == {"enqueued": 0, "skipped": 1}
    assert (rows.states(), entries(cli)) == ({"available": 1}, before)


def test_the_job_that_holds_the_key_is_shown(cli, held, rows) -> None:
    before = entries(cli)
    ran = cli(*LINE, FIRST, "--on-conflict", "return_existing")

    assert ran.status == 0
    assert ran.out == f"Nothing was enqueued: job {held} holds the unique key\n"
    assert cli(*LINE, FIRST, "--on-conflict", "return_existing", "-o", "ids").out == f"{held}\n"
    shown = cli(*LINE, FIRST, "--on-conflict", "return_existing", "-o", "json").data
    assert (shown["id"], shown["args"], shown["attempt"]) == (held, {"user": 7}, 0)
    assert (rows.states(), entries(cli)) == ({"available": 1}, before)


def test_a_job_that_waits_is_replaced(cli, rows) -> None:
    line = ["job", "enqueue", "index", "--unique", "fields=doc", "--args"]
    first = cli(*line, '{"doc": 7, "text": "a"}', "-o", "json").data["id"]
    ran = cli(*line, '{"doc": 7, "text": "ab"}', "--on-conflict", "replace", "--delay", "1h")

    assert (ran.status, ran.out) == (0, f"Replaced job {first}\n")
    row = rows.one("SELECT id, args ->> 'text' AS text, state::text FROM awa.jobs")
    assert row == {"id": first, "text": "ab", "state": "scheduled"}
    assert cli("audit", "-o", "json").data[0]["detail"] == {"job_id": first, "queue": "default"}


def test_a_job_that_runs_is_not_replaced(cli, held, db) -> None:
    db.execute("UPDATE awa.jobs_hot SET state = 'running', attempt = 1")
    ran = cli(*LINE, FIRST, "--on-conflict", "replace")

    assert (ran.status, ran.out) == (1, "")
    assert f"job {held}" in ran.err


@pytest.mark.parametrize("mode", ["skip", "return_existing", "replace", "raise"])
def test_a_job_whose_key_is_free_is_enqueued(cli, held, rows, mode) -> None:
    ran = cli(*LINE, SECOND, "--on-conflict", mode)

    assert (ran.status, ran.out) == (0, f"Enqueued job {held + 1}\n")
    shown = cli(*LINE, '{"user": 9}', "--on-conflict", mode, "-o", "json").data
    assert shown["unique_states"] is not None
    assert rows.states() == {"available": 3}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["--on-conflict", "ignore"], "'ignore' is not one of"),
        (["--on-conflict", "skip"], "--on-conflict skip needs --unique"),
        (["--on-conflict", "skip", "--ndjson", "-"], "--on-conflict skip needs --unique"),
        (
            ["--unique", "args", "--on-conflict", "skip", "--debounce", "5s"],
            "--debounce and --on-conflict cannot be used together",
        ),
        (
            ["--unique", "args", "--on-conflict", "return_existing", "--ndjson", "-"],
            "--ndjson and --on-conflict return_existing cannot be used together",
        ),
    ],
)
def test_modes_that_say_nothing_are_refused(cli, rows, line, says) -> None:
    ran = cli("job", "enqueue", "k", *line)

    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert rows.states() == {}


def test_lines_whose_key_is_taken_are_skipped(cli, held, tmp_path, rows) -> None:
    lines = tmp_path / "args.ndjson"
    lines.write_text(f"{FIRST}\n\n{SECOND}\n{SECOND}\n")
    line = ["job", "enqueue", "sync", "--ndjson", lines, "--unique", "args"]

    refused = cli(*line)
    assert (refused.status, refused.out) == (1, "")
    assert "in lines 1 to 4; nothing was enqueued" in refused.err
    assert "--on-conflict skip" in refused.err
    ran = cli(*line, "--on-conflict", "skip")
    assert ran.out == "Enqueued 1 job; skipped 2 jobs whose unique key is taken\n"
    shown = cli(*line, "--on-conflict", "skip", "-o", "json").data
    assert shown == {"enqueued": 0, "skipped": 3}
    assert rows.states() == {"available": 2}


def test_of_several_lines_with_a_key_the_last_replaces(cli, tmp_path, rows) -> None:
    lines = tmp_path / "args.ndjson"
    lines.write_text("".join(f'{{"doc": 7, "n": {n}}}\n' for n in range(3)))
    line = ["job", "enqueue", "index", "--ndjson", lines, "--unique", "fields=doc"]

    assert cli(*line, "--on-conflict", "replace").out == "Enqueued 3 jobs\n"
    assert rows.all("SELECT args ->> 'n' AS n FROM awa.jobs") == [{"n": "2"}]


@pytest.mark.parametrize(
    ("words", "unique"),
    [
        ({}, awa.Unique()),
        ({"by": "args"}, awa.Unique()),
        (
            {"by": ["args", "queue"], "states": "any"},
            awa.Unique(by=("args", "queue"), states="any"),
        ),
        ({"fields": ["doc"], "period": "365d"}, awa.Unique(fields=["doc"], period="365d")),
        (
            {"by": "kind", "states": ["failed", "cancelled"], "period": 31_536_000},
            awa.Unique(by="kind", states=["failed", "cancelled"], period=31_536_000),
        ),
    ],
)
def test_a_line_has_the_words_of_the_library(
    cli, tmp_path, database_url, rows, words, unique
) -> None:
    """Both write the same key and the same states."""
    record = {"kind": "index", "args": {"doc": 7, "n": 1}, "unique": words}
    lines = tmp_path / "jobs.ndjson"
    lines.write_text(json.dumps(record))
    found = []
    assert cli("job", "enqueue", "--ndjson", lines).status == 0
    found.append(rows.one("SELECT unique_key, unique_states FROM awa.jobs"))
    rows.conn.execute("DELETE FROM awa.jobs_hot")
    with awa.Client(database_url) as client:
        client.insert(record["args"], kind="index", unique=unique)
    found.append(rows.one("SELECT unique_key, unique_states FROM awa.jobs"))

    assert found[0]["unique_key"] is not None
    assert found[0] == found[1]


def test_a_line_without_a_key_of_its_own_has_that_of_the_option(cli, tmp_path, rows) -> None:
    lines = tmp_path / "jobs.ndjson"
    lines.write_text(
        '{"kind": "a", "unique": {"states": "any"}}\n{"kind": "b"}\n{"kind": "c", "unique": null}\n'
    )

    assert cli("job", "enqueue", "--ndjson", lines, "--unique", "queue").status == 0
    found = rows.all("SELECT kind, unique_states::text AS bits FROM awa.jobs ORDER BY id")
    assert [one["bits"] for one in found] == ["11111111", "11101001", "11101001"]


def test_the_period_of_a_line_goes_by_the_clock_of_the_database(cli, tmp_path, monkeypatch) -> None:
    lines = tmp_path / "jobs.ndjson"
    lines.write_text('{"kind": "a", "unique": {"by": "kind", "period": "365d"}}\n')
    assert cli("job", "enqueue", "a", "--unique", "by=kind,period=365d").status == 0

    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.0)
    assert cli("job", "enqueue", "--ndjson", lines).status == 1


@pytest.mark.parametrize(
    ("unique", "says"),
    [
        ("args", "unique is not a JSON object"),
        ([], "unique is not a JSON object"),
        ({"stats": "any"}, "unique has an unknown word 'stats'"),
        ({"by": "arg"}, "not by 'arg'"),
        ({"by": 7}, "by must be a list"),
        ({"by": ["args", 7]}, "not by 7"),
        ({"states": "finished"}, "'finished'"),
        ({"states": 7}, "states must be a list"),
        ({"states": ["any"]}, "unknown job state: any"),
        ({"period": "soon"}, "period must be a time of 1 s"),
        ({"period": 0}, "period must be a time of 1 s"),
        ({"fields": "doc"}, "fields must be a list of names"),
        ({"fields": 7}, "fields must be a list"),
        ({"fields": ["page"]}, "is not in the args"),
    ],
)
def test_a_wrong_word_is_told_with_its_line(cli, tmp_path, rows, unique, says) -> None:
    lines = tmp_path / "jobs.ndjson"
    good = {"kind": "a", "args": {"doc": 7}}
    lines.write_text(f"{json.dumps(good)}\n\n{json.dumps({**good, 'unique': unique})}\n")
    ran = cli("job", "enqueue", "--ndjson", lines)

    assert (ran.status, ran.out) == (2, "")
    assert "line 3: " in ran.err
    assert says in ran.err
    assert rows.states() == {}


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("a", ["args"]),
        ("", ["args", "queue", "kind", "by=", "states=", "period=", "fields="]),
        ("st", ["states="]),
        ("args,per", ["args,period="]),
        ("by=q", ["by=queue"]),
        ("args,states=not_", ["args,states=not_started", "args,states=not_finished"]),
        ("states=failed,states=ca", ["states=failed,states=cancelled"]),
        ("period=", []),
        ("fields=d", []),
        ("nothing=", []),
    ],
)
def test_the_shell_completes_the_words(word, found) -> None:
    offered = completed(None, "awa", "job", "enqueue", "k", "--unique", word)

    assert [one.strip("'") for one in offered] == found


def test_the_shell_completes_the_modes() -> None:
    line = ["awa", "job", "enqueue", "k", "--on-conflict"]

    assert completed(None, *line, "") == ["raise", "skip", "return_existing", "replace"]
    assert completed(None, *line, "re") == ["return_existing", "replace"]
