"""Which jobs ``awa job list`` shows, in what order, and in which form."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from awa_cli.parser.job_options import read_options
from awa_cli.terminal.formats import Shape, read_shape, write_data
from awa_lib.errors import InvalidInput


def ids(ran) -> list[int]:
    assert ran.status == 0, ran.err
    return [job["id"] for job in ran.data]


def test_several_states(cli, add) -> None:
    failed, running, _ = add("failed"), add("running"), add("completed")

    assert ids(cli("job", "list", "--state", "failed,running", "-o", "json")) == [running, failed]
    assert ids(
        cli("job", "list", "--state", "failed", "--state", "running", "-o", "json")
    ) == [running, failed]  # fmt: skip


def test_ages(cli, add) -> None:
    now = datetime.now(UTC)
    old, new = add(created_at=now - timedelta(hours=3)), add(created_at=now - timedelta(hours=1))
    moment = (now - timedelta(hours=2)).isoformat()

    assert ids(cli("job", "list", "--since", "2h", "-o", "json")) == [new]
    assert ids(cli("job", "list", "--until", "2h ago", "-o", "json")) == [old]
    assert ids(cli("job", "list", "--since", moment, "-o", "json")) == [new]


def test_what_the_args_hold(cli, add) -> None:
    number = add(args='{"customer": 42, "to": {"name": "Ada"}}', metadata='{"run": "7"}')
    add(args='{"customer": "42", "to": {"name": "Bob"}}')

    for condition in (
        "args.customer=42", "args.to.name=Ada", 'args.to={"name":"Ada"}', 'metadata.run="7"',
    ):  # fmt: skip
        assert ids(cli("job", "list", "--where", condition, "-o", "json")) == [number]
    assert ids(
        cli("job", "list", "--where", "args.customer=42", "--where", "args.to.name=Bob", "-o", "json")
    ) == []  # fmt: skip


def test_error_text(cli, add) -> None:
    timed_out = add("failed", errors=['{"error": "x"}', '{"error": "Connection TIMED out"}'])
    add("failed", errors=['{"error": "timed out"}', '{"error": "other 100%"}'])

    assert ids(cli("job", "list", "--error", "timed out", "-o", "json")) == [timed_out]
    assert ids(cli("job", "list", "--error", "%", "-o", "json")) != [timed_out]


@pytest.mark.parametrize("field", ["run_at", "created_at", "attempted_at", "finalized_at"])
def test_order_by_time(cli, add, field) -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in (2, 3, 1)]
    made = [add("completed", **{"finalized_at": "now", field: moment}) for moment in moments]
    if field == "attempted_at":
        made.append(add("completed", finalized_at="now"))  # none: last in both orders
    up = ids(cli("job", "list", "--sort", field, "-o", "json"))
    down = ids(cli("job", "list", "--sort", f"-{field}", "-o", "json"))

    assert up == [made[2], made[0], made[1], *made[3:]]
    assert down == [made[1], made[0], made[2], *made[3:]]


def test_order_by_number_and_id(cli, add) -> None:
    low, high, mid = add(priority=1, attempt=3), add(priority=4), add(priority=2, attempt=1)

    assert ids(cli("job", "list", "--sort", "priority", "-o", "json")) == [low, mid, high]
    assert ids(cli("job", "list", "--sort", "-attempt", "-o", "json")) == [low, mid, high]
    assert ids(cli("job", "list", "--sort", "id", "-o", "json")) == [low, high, mid]


def test_all_goes_through_every_page(cli, db) -> None:
    db.execute(
        "INSERT INTO awa.jobs_hot (kind, queue, args) SELECT 'k', 'q', '{}'"
        " FROM generate_series(1, 2500)"
    )
    listed = cli("job", "list", "--all", "-o", "ids").out.split()

    assert len(listed) == 2500
    assert listed == sorted(listed, key=int, reverse=True)
    assert "2,500 jobs listed." in cli("job", "list", "--all").err


@pytest.mark.parametrize(
    ("options", "says", "do"),
    [
        (
            ["--state", "faild"],
            "--state 'faild' is not a state of jobs",
            "did you mean: --state failed",
        ),
        (["--since", "soon"], "--since 'soon' is neither a duration nor a moment", "--since 2h"),
        (["--since", "99999999d"], "is neither a duration nor a moment", "--since 2h"),
        (["--where", "customer=1"], "--where 'customer=1' cannot be read", "args.customer=42"),
        (["--where", "args..a=1"], "--where 'args..a=1' cannot be read", "args.customer=42"),
        (
            ["--where", "args.a=1", "--where", "args.a.b=1"],
            "contradicts another condition",
            "leave one out",
        ),
        (["--sort", "runat"], "jobs cannot be sorted by 'runat'", "did you mean: --sort run_at"),
        (["--sort", "id", "--all"], "--sort cannot be used with --all or --before-id", "leave"),
        (["-o", "jsn"], "unknown output format: jsn", "did you mean: -o json"),
        (["-o", "template"], "unknown output format: template", "template='{id}'"),
    ],
)
def test_bad_filters(offline, options, says, do) -> None:
    ran = offline("job", "list", *options, "--database-url", "postgresql://127.0.0.1:1/x")

    assert (ran.status, ran.out) == (2, "")
    assert says in ran.err
    assert do in ran.err


# -- forms


def test_every_form_says_the_same(cli, add) -> None:
    job_id = add("failed", kind="k", tags=["a", "b"], args='{"to": "é"}', errors=['{"error": "x"}'])
    add("failed", kind="other")
    as_json = cli("job", "list", "-o", "json").data
    lines = cli("job", "list", "-o", "ndjson").out.splitlines()
    rows = list(csv.DictReader(io.StringIO(cli("job", "list", "-o", "csv").out)))

    assert [json.loads(line) for line in lines] == as_json
    assert yaml.safe_load(cli("job", "list", "-o", "yaml").out) == as_json
    assert list(rows[1]) == list(as_json[1])
    assert (rows[1]["id"], rows[1]["args"], rows[1]["tags"]) == (
        str(job_id), '{"to":"é"}', '["a","b"]',
    )  # fmt: skip
    assert (rows[1]["created_at"], rows[1]["heartbeat_at"]) == (as_json[1]["created_at"], "")
    assert cli("job", "list", "-o", "ids").out == f"{job_id + 1}\n{job_id}\n"
    template = "{{{kind}}}\\t{args.to} {tags.1}|{heartbeat_at}"
    assert cli("job", "list", "--kind", "k", "-o", f"template={template}").out == "{k}\té b|\n"


def test_columns_are_chosen(cli, add) -> None:
    add(kind="k", args='{"to": "Ada", "n": [1]}')
    chosen = "id, kind,args.to,args.n,args.none"

    assert cli("job", "list", "--columns", chosen, "-o", "csv").out == (
        "id,kind,args.to,args.n,args.none\n1,k,Ada,[1],\n"
    )  # fmt: skip
    head, row = cli("job", "list", "--columns", chosen).out.splitlines()
    assert head.split() == ["ID", "KIND", "ARGS.TO", "ARGS.N", "ARGS.NONE"]
    assert row.split() == ["1", "k", "Ada", "[1]", "-"]


@pytest.mark.parametrize("form", [["--columns", "id,knd"], ["-o", "template={knd}"]])
def test_fields_that_are_not_there(cli, add, form) -> None:
    add()
    ran = cli("job", "list", *form)

    assert ran.status == 2
    assert "unknown field 'knd'" in ran.err
    assert "did you mean: kind" in ran.err


def test_wide_shows_more_and_cuts_nothing(cli, add, terminal, database_url) -> None:
    add(kind="k" * 60, tags=["urgent"], args='{"to": "somebody@example.org"}', priority=3)
    ran = terminal("job", "list", "-o", "wide", url=database_url, columns=80)

    assert "k" * 60 in ran.out
    assert '{"to": "somebody@example.org"}' in ran.out
    for title in ("PRIO", "CREATED", "TAGS", "ARGS"):
        assert title in ran.out
        assert title not in cli("job", "list").out


def test_empty_lists_in_every_form(cli) -> None:
    found = {form: cli("job", "list", "-o", form).out
             for form in ("table", "wide", "json", "ndjson", "yaml", "csv", "ids")}  # fmt: skip

    assert found == {
        "table": "No jobs found.\n", "wide": "No jobs found.\n", "json": "[]\n", "ndjson": "",
        "yaml": "[]\n", "csv": "", "ids": "",
    }  # fmt: skip


def test_quiet_leaves_the_remarks_out(cli, add) -> None:
    job = add("failed")

    assert cli("job", "list", "--quiet").err == ""
    assert cli("-q", "job", "retry", job).err == ""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.text(min_size=1), JSON, min_size=1), max_size=4))
def test_json_forms_read_back(rows) -> None:
    def written(form: str) -> str:
        parts: list[str] = []
        write_data(
            rows,
            Shape(read_shape(form).format),
            (),
            parts.append,
            ascii_only=True,
            at_terminal=False,
        )
        return "".join(parts)

    assert json.loads(written("json")) == rows
    assert [json.loads(line) for line in written("ndjson").splitlines()] == rows


@given(st.text())
def test_any_text_is_a_filter_or_a_clear_error(text) -> None:
    """Nothing but InvalidInput may come out."""
    for words in (
        {"since": text}, {"until": text}, {"where": [text]}, {"where": [f"args.{text}"]},
        {"state": [text]},
    ):  # fmt: skip
        with suppress(InvalidInput):
            read_options(**words)
    with suppress(InvalidInput):
        read_shape(text)
