"""``awa cron``: schedules looked at, changed, and kept in files."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from awa_cli.commands.cron._schedule_files import read_file
from awa_lib.errors import InvalidInput

FILE = """\
schedules:
  - name: nightly
    cron_expr: "0 2 * * *"
    timezone: Europe/Berlin
    kind: report
    queue: slow
    args: {full: true}
    tags: [a]
  - {name: pulse, cron_expr: "*/10 * * * * *", kind: ping, paused: true}
"""


@pytest.fixture
def file(tmp_path):
    """Write a file of schedules and return its name."""

    def write(text: str, name: str = "s.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def applied(cli, file) -> str:
    name = file(FILE)
    assert cli("cron", "apply", "-f", name, "--yes").status == 0
    return name


def test_nothing_there(cli) -> None:
    assert cli("cron", "list").out == "No cron job schedules found.\n"
    assert cli("cron", "list", "--fail-empty").status == 5
    assert cli("cron", "export").out == "schedules: []\n"
    gone = cli("cron", "remove", "x")
    assert (gone.status, gone.out) == (0, "No cron schedule found with name 'x'\n")
    assert cli("cron", "remove", "x", "--fail-empty").status == 5
    for verb in ("show", "next", "trigger", "pause", "resume"):
        ran = cli("cron", verb, "x")
        assert (ran.status, ran.out) == (1, "")
        assert "schedule not found: 'x'" in ran.err
        assert "do: list schedules: awa cron list" in ran.err


def test_list_and_show(cli, applied) -> None:
    ran = cli("cron", "list")
    header, nightly, pulse = ran.out.splitlines()
    assert header.split()[:5] == ["NAME", "CRON", "TIMEZONE", "KIND", "QUEUE"]
    assert nightly.startswith("nightly  0 2 * * *       Europe/Berlin  report  slow     in ")
    assert nightly.endswith("no process declares it")
    assert pulse.split()[-1] == "paused"
    assert "2 schedules listed." in ran.err
    page = cli("cron", "show", "nightly").out
    assert page.startswith("Schedule nightly  on\n\n  cron       0 2 * * *  Europe/Berlin\n")
    assert "\nNext fires\n  " in page
    assert page.count("T02:00:00+0") == 5
    assert "  awa cron trigger nightly\n  awa cron pause nightly\n" in page
    data = cli("cron", "show", "pulse", "-o", "json").data
    assert data == cli("cron", "list", "-o", "json").data[1]
    assert (data["next_fire_at"], data["paused_by"]) == (None, "cli")


def test_next_of_an_expression_needs_no_database(offline) -> None:
    ran = offline("cron", "next", "0 2 * * *", "--tz", "Europe/Berlin", "-n", 3, "-o", "json")
    assert len(ran.data) == 3
    for fire in ran.data:
        local = datetime.fromisoformat(fire["local"])
        assert (local.hour, local.minute) == (2, 0)
        assert local == datetime.fromisoformat(fire["utc"])
    assert datetime.fromisoformat(ran.data[0]["utc"]) > datetime.now(UTC)
    daily = offline("cron", "next", "@daily", "-n", 1, "-o", "json").data[0]["utc"]
    assert datetime.fromisoformat(daily) - datetime.now(UTC) <= timedelta(days=1)
    assert offline("cron", "next", "* * * * *").out.splitlines()[0].split() == [
        "LOCAL", "UTC", "WHEN",
    ]  # fmt: skip


def test_next_of_a_schedule_uses_its_zone(cli, applied) -> None:
    berlin = cli("cron", "next", "nightly", "-n", 1, "-o", "json").data[0]["local"]
    assert "T02:00:00+0" in berlin
    utc = cli("cron", "next", "nightly", "--tz", "UTC", "-n", 1, "-o", "json").data[0]["local"]
    assert utc.endswith("T02:00:00+00:00")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["99 * * * *"], "invalid cron expression"),
        (["* * *"], "has 3 fields"),
        (["@never"], "invalid cron expression"),
        (["0 0 30 2 *"], "never fires"),
        (["* * * * *", "--tz", "Mars/Base"], "invalid timezone: 'Mars/Base'"),
        (["* * * * *", "-n", "0"], "not in the range"),
    ],
)
def test_bad_expressions(offline, line, says) -> None:
    ran = offline("cron", "next", *line)
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err


def test_trigger_pause_resume_remove(cli, applied, db) -> None:
    ran = cli("cron", "trigger", "nightly")
    job = db.execute("SELECT id, kind, queue, args FROM awa.jobs").fetchone()
    assert ran.out == f"Triggered schedule 'nightly': job {job[0]}\n"
    assert job[1:] == ("report", "slow", {"full": True})
    (row,) = cli("cron", "trigger", "nightly", "-o", "ids").out.split()
    assert int(row) == job[0] + 1
    assert cli("cron", "pause", "nightly").out == "Paused schedule 'nightly'\n"
    assert "awa cron resume nightly" in cli("cron", "show", "nightly").out
    assert cli("cron", "resume", "nightly").out == "Resumed schedule 'nightly'\n"
    assert cli("cron", "remove", "nightly").out == "Removed cron schedule 'nightly'\n"
    assert "it was removed at" in cli("cron", "show", "nightly").err


@pytest.mark.parametrize("language", ["yaml", "toml"])
def test_export_applies_to_the_same(cli, applied, file, language) -> None:
    text = cli("cron", "export", "--format", language).out
    read = yaml.safe_load(text) if language == "yaml" else tomllib.loads(text)
    assert read == yaml.safe_load(FILE)
    name = file(text, f"x.{language}")
    same = cli("cron", "apply", "-f", name, "--check", "--prune")
    assert (same.status, same.out) == (0, "  2 unchanged\n")
    for schedule in ("nightly", "pulse"):
        cli("cron", "remove", schedule)
    assert cli("cron", "apply", "-f", name, "--yes").out == "+ nightly\n+ pulse\n"
    assert cli("cron", "export", "--format", language).out == text


def test_apply_shows_what_changes_and_does_it(cli, applied, file, db) -> None:
    new = FILE.replace("0 2 * * *", "0 3 * * *").replace("full: true", "full: false")
    new = (
        new.replace("paused: true", "paused: false")
        + "  - {name: new, cron_expr: '@daily', kind: k}\n"
    )
    name = file(new)
    shown = (
        "+ new\n~ nightly\n    cron_expr: 0 2 * * * -> 0 3 * * *\n"
        '    args: {"full": true} -> {"full": false}\n~ pulse\n    paused: true -> false\n'
    )
    assert cli("cron", "apply", "-f", name, "--dry-run").out == shown
    check = cli("cron", "apply", "-f", name, "--check")
    assert (check.status, check.out) == (6, shown)
    refused = cli("cron", "apply", "-f", name)
    assert (refused.status, refused.out) == (2, shown)
    assert "confirmation is required to make 3 changes" in refused.err
    assert len(cli("cron", "list", "-o", "json").data) == 2

    ran = cli("cron", "apply", "-f", name, "--yes")
    assert (ran.status, ran.out) == (0, shown)
    assert ran.err.endswith("Applied 3 changes.\n")
    assert cli("cron", "apply", "-f", name, "--check").out == "  3 unchanged\n"
    assert cli("cron", "show", "pulse", "-o", "json").data["paused_at"] is None

    fewer = file(FILE)
    assert cli("cron", "apply", "-f", fewer, "--prune", "--dry-run", "-o", "json").data[0] == {
        "name": "new", "change": "remove", "fields": {},
    }  # fmt: skip
    cli("cron", "apply", "-f", fewer, "--yes")
    assert len(cli("cron", "list", "-o", "json").data) == 3
    cli("cron", "apply", "-f", fewer, "--prune", "--yes")
    assert len(cli("cron", "list", "-o", "json").data) == 2


def test_applied_schedules_fire_and_are_nobodys(cli, applied, db) -> None:
    assert [one["declared"] for one in cli("cron", "list", "-o", "json").data] == [False, False]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schedules: [", "is not YAML"),
        ("just text", "has no schedules"),
        ("schedules: 3", "has no schedules"),
        ("schedules: [3]", "schedule 1 is not a mapping of fields"),
        ("schedules: [{name: a, kind: k}]", "schedule 'a' has no cron_expr"),
        ("schedules: [{name: a, kind: k, cron_expr: '99 * * * *'}]", "invalid cron expression"),
        ("schedules: [{name: a, kind: k, cron_exp: '@daily'}]", "did you mean: cron_expr"),
        ("schedules: [{name: a, kind: k, cron_expr: '@daily', args: 1}]", "schedule 'a'"),
        ("schedules: [{name: a, kind: k, cron_expr: '@daily', paused: 1}]", "paused true or false"),
        ("schedules: [{name: a, kind: k, cron_expr: '@daily', priority: 9}]", "priority"),
        (
            "schedules: [&a {name: a, kind: k, cron_expr: '@daily'}, *a]",
            "appears twice",
        ),
    ],
)
def test_a_bad_file_changes_nothing(cli, applied, file, text, says) -> None:
    before = cli("cron", "export").out
    ran = cli("cron", "apply", "-f", file(text, "bad.yaml"), "--prune", "--yes")
    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert cli("cron", "export").out == before


def test_files_that_are_not_there(cli, file) -> None:
    assert "cannot read '/no/such'" in cli("cron", "apply", "-f", "/no/such").err
    assert "is not TOML" in cli("cron", "apply", "-f", file("= 3", "x.toml")).err


@pytest.mark.parametrize(("name", "text"), [("x.toml", "a = {}"), ("x.yaml", "a: {}")])
def test_a_number_that_python_does_not_read(cli, file, name, text) -> None:
    ran = cli("cron", "apply", "-f", file(text.format("9" * 5_000), name))

    assert (ran.status, ran.out) == (2, "")
    assert "a number is too long" in ran.err
    assert "sys." not in ran.err


def test_file_on_stdin(process, database_url) -> None:
    ran = process("cron", "apply", "-f", "-", "--yes", url=database_url, stdin=FILE)
    assert ran.out == "+ nightly\n+ pulse\n"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
fields = st.sampled_from(["name", "cron_expr", "kind", "args", "tags", "priority", "timezone",
                          "jitter_seconds", "catch_up_limit", "metadata", "paused", "x"])  # fmt: skip


@given(st.lists(st.dictionaries(fields, values, max_size=6), max_size=3))
def test_any_file_is_read_or_refused(tmp_path_factory, records) -> None:
    path = tmp_path_factory.mktemp("s") / "s.yaml"
    path.write_text(yaml.safe_dump({"schedules": records}))
    try:
        found = read_file(str(path))
    except InvalidInput:
        return
    assert len(found) == len(records)
