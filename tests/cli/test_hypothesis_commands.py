"""Whatever is typed: no traceback, no unknown exit status, no injection, no half-done change."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Any

import psycopg
import pytest
from fix_cli import LEAVES, Ran, forms
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from awa_cli.errors import ExitCode

# What a process can be given: no NUL, and bytes that are no text as lone surrogates.
NASTY = [
    "", " ", "-", "--", "-x", "--help", "'", '"', "'; DROP TABLE awa.jobs_hot; --", "%", "%s",
    "%(x)s", "{}", "{id}", "{id.x.0}", "{", "\\", "\x1b[31m", "\n", "a\nb", "\r", "\t", "é", "名",
    "\u202e", "x" * 200, "x" * 201, "名" * 200, ":id", "$1", "*", "NULL", "null", "0", "-1", "1",
    "1e400", "9223372036854775807", "9223372036854775808", "nan", "true", "[", "@", "@/", "a.b",
    "args.a=1", "a=b", "a,b", "id,args", "2h", "99999999999999d", "2026-01-01", "9999-12-31",
    "0001-01-01", "-id", "template={x}", "[" * 5_000, '{"a": "\\u0000"}', '{"a": 1e400}', "\udc80",
    "\U0010ffff", "failed", "9" * 5_000, "(" * 3_000, "tags." + "9" * 5_000, "²", "*/5 * * * *", "8feaec61-ea03-4e4c-ab3d-f63350329dc6",
]  # fmt: skip
LETTERS = st.characters(codec="utf-8", exclude_characters="\x00")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda some: (
        st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3)
    ),
    max_leaves=6,
)
WORDS = st.sampled_from(NASTY) | st.text(LETTERS, max_size=250) | JSON.map(json.dumps)
NAMES = st.text(LETTERS, min_size=1, max_size=200) | st.sampled_from(
    [one for one in NASTY if one and len(one) <= 200 and "\udc80" not in one]
)
# Endless ones, servers, and those that write files or run other programs.
LEFT_OUT = {
    "job watch", "worker", "bench", "demo", "migrate", "context add", "context test", "dev up",
    "dev psql", "dev down", "dev reset", "tui", "serve", "doctor", "roles",
}  # fmt: skip
FLAGS_LEFT_OUT = {"--follow", "--watch", "--help"}
COMMON = {"--database-url", "--context", "--connect-timeout", "--verbose", "--no-pager"}
TABLES = ("jobs", "queue_meta", "queue_policies", "cron_jobs", "dead_letters", "bulk_operations",
          "storage_transition_state")  # fmt: skip


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


@pytest.fixture
def state(database_url, add, monkeypatch):
    """Give all that can be changed as one value, for comparison."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    for one in ("available", "failed", "scheduled", "completed"):
        add(one, args=json.dumps({"n": 1, "to": "a@example.org"}), errors=['{"error": "x"}'],
            finalized_at=None if one in {"available", "scheduled"} else "2026-01-01T00:00Z")  # fmt: skip
    with psycopg.connect(database_url, autocommit=True) as conn:
        yield lambda: [
            conn.execute(f"SELECT t::text FROM awa.{table} AS t ORDER BY 1").fetchall()
            for table in TABLES
        ]


def checked(ran: Ran) -> Ran:
    assert ran.status in set(ExitCode)
    assert "Traceback" not in ran.err
    assert "a bug in awa" not in ran.err
    assert CONTROLS.search(ran.err) is None  # no name draws screens
    return ran


CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@st.composite
def lines(draw: Any) -> list[str]:
    """Draw a command line: any command, any words, any of its options."""
    name = draw(st.sampled_from(sorted(LEAVES.keys() - LEFT_OUT)))
    line = name.split()
    for param in LEAVES[name].params:
        option = next((one for one in param.opts if one.startswith("--")), None)
        if param.param_type_name == "argument":
            line += draw(st.lists(WORDS, min_size=param.required, max_size=1 + (param.nargs < 0)))
        elif option in COMMON | FLAGS_LEFT_OUT or not draw(st.integers(0, 3)) == 0:
            continue
        elif param.is_flag or param.count:
            line.append(option)
        else:
            line += [option, draw(WORDS)]
    return [*line, "--timeout", "10ms"] if name == "job wait" else line


@bounded(150)
@given(line=lines())
@example(line=["job", "cancel", "--kind", "\udc80"])
@example(line=["queue", "drain", "\x1f"])
def test_any_line_ends_well_and_a_refused_one_changes_nothing(cli, state, line) -> None:
    before = state()
    ran = checked(cli(*line))
    if ran.status in {ExitCode.USAGE, ExitCode.NOTHING} or ran.err.count("error: ") > 0:
        assert state() == before


OPTIONS = ("--state", "--kind", "--queue", "--tag", "--since", "--until", "--where", "--error",
           "--before-id", "--sort", "--limit", "--columns", "-o")  # fmt: skip


@bounded(80)
@given(chosen=st.lists(st.tuples(st.sampled_from(OPTIONS), WORDS), max_size=4))
def test_lists_take_any_filter(cli, state, chosen) -> None:
    before = state()
    checked(cli("job", "list", *[word for pair in chosen for word in pair]))
    assert state() == before


@bounded(25)
@given(kind=NAMES, queue=NAMES, tag=NAMES, args=st.dictionaries(st.text(max_size=8), JSON))
def test_names_come_back_byte_for_byte(cli, rows, kind, queue, tag, args) -> None:
    made = checked(
        cli("job", "enqueue", f"--queue={queue}", f"--tag={tag}", "--args", json.dumps(args),
            "-o", "json", "--", kind)
    )  # fmt: skip
    if made.status == ExitCode.USAGE:  # args that cannot be stored
        assert "error: " in made.err
        return
    assert made.status == 0, made.err
    job = made.data["id"]
    stored = rows.one("SELECT kind, queue, tags FROM awa.jobs WHERE id = %s", job)
    assert stored == {"kind": kind, "queue": queue, "tags": [tag]}
    filters = [f"--kind={kind}", f"--queue={queue}", f"--tag={tag}"]
    (listed, *_) = checked(cli("job", "list", *filters, "-o", "json")).data
    assert [listed[key] for key in ("id", "kind", "queue", "tags")] == [job, kind, queue, [tag]]
    shown = checked(cli("job", "show", job, "-o", "json")).data["job"]
    assert {key: listed[key] for key in shown} == shown
    stats = {one["queue"] for one in cli("queue", "stats", "-o", "json").data}
    assert queue in stats
    for people in (["job", "show", job], ["job", "list", *filters], ["queue", "stats"]):
        assert CONTROLS.search(checked(cli(*people)).out) is None


@bounded(30)
@given(queue=NAMES)
@example(queue="-q")
@example(queue="'; DROP TABLE awa.jobs_hot; --")
def test_a_queue_of_any_name_is_paused_alone(cli, rows, queue) -> None:
    assume(queue != "email")
    assert checked(cli("queue", "pause", "--", queue)).status == 0
    paused = rows.all("SELECT queue FROM awa.queue_meta WHERE paused")
    assert paused == [{"queue": queue}]
    assert checked(cli("queue", "resume", "--", queue)).status == 0
    assert rows.all("SELECT queue FROM awa.queue_meta WHERE paused") == []


LISTS = [name for name in LEAVES if len(forms(name)) > 1 and name not in LEFT_OUT]


@bounded(50)
@given(
    name=st.sampled_from([name for name in LISTS if name.endswith("list")]),
    columns=st.lists(WORDS | st.sampled_from(["id", "kind", "queue", "args.to", "errors.0"]),
                     max_size=3),
    form=st.sampled_from(["table", "wide", "csv", "json"]) | WORDS.map("template={}".format),
)  # fmt: skip
def test_columns_and_templates(cli, state, name, columns, form) -> None:
    checked(cli(*name.split(), "--columns", ",".join(columns), "-o", form))


class Terminal(io.StringIO):
    """What isatty says yes of."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@bounded(50)
@given(
    width=st.integers(1, 300), line=st.sampled_from([
        ["job", "list"], ["queue", "stats"], ["job", "show", "1"], ["job", "logs", "2"],
        ["queue", "list"], ["kind", "list"], ["job", "--help"], ["job", "list", "--help"],
    ]),
)  # fmt: skip
@example(width=1, line=["job", "--help"])
def test_any_width_of_terminal(cli, state, monkeypatch, width, line) -> None:
    shown = Terminal()
    with monkeypatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        patch.setenv("LINES", "10000")
        patch.setattr(sys, "stdout", shown)
        ran = checked(cli(*line))
    assert ran.status == 0, ran.err
    assert shown.getvalue()
