"""Every parser that needs no database, how it is fed, and how it may refuse.

A parser reads a value or raises an ``AwaError``, whose sentence fits a line.  Those that read a
file get one; those with a printer read back what it prints.
"""

from __future__ import annotations

import asyncio
import dataclasses
import email.utils
import os
import random
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypedDict
from unittest.mock import patch
from uuid import UUID

import httpx
from hypothesis import strategies as st
from input.wild import JSON, JSON_TEXT, STORED, UTF8, WILD, mutated

import awa_lib as awa
from awa_cli.access import parse_access
from awa_cli.addresses import is_loopback, parse_host, parse_networks, parse_origin
from awa_cli.commands.cron._schedule_files import read_file
from awa_cli.commands.queue._conditions import read_condition
from awa_cli.database.config import Context, change_config, read_config
from awa_cli.database.target import describe, resolve
from awa_cli.filters import values
from awa_cli.filters.query import FIELDS, Read, pairs_of
from awa_cli.filters.spelling import OPTIONS, QUERY_STRING, TEXT
from awa_cli.filters.text import add_word, complete_filter, read_text, text_pairs
from awa_cli.parser.job_options import read_ids
from awa_cli.redact import read_redactor
from awa_cli.terminal.formats import field_of, read_columns, read_shape, write_data
from awa_cli.tui.launch import read_size
from awa_cli.tui.saved_state import SavedState
from awa_cli.views.cron import in_words
from awa_cli.views.tracebacks import read_trace
from awa_cli.web.api import table
from awa_cli.web.bodies import read_json as read_body
from awa_cli.web.json_schema import check_object, from_text
from awa_cli.web.path_names import step
from awa_cli.web.prefix import read_prefix
from awa_cli.web.probe import read_address as read_probe
from awa_cli.web.problems import Refused
from awa_cli.web.query_string import read_pairs, read_params
from awa_cli.worker.loader import load_client
from awa_lib import _json
from awa_lib._json import as_data, as_entries, as_members, as_queues
from awa_lib.callbacks import signatures
from awa_lib.codec.decode import decoder
from awa_lib.codec.encode import encode, encode_object
from awa_lib.config.workers import WorkerOptions
from awa_lib.cron import CronExpression
from awa_lib.db.urls import read_address
from awa_lib.enqueue import new_jobs
from awa_lib.enqueue.unique import UniqueOptions, canonical_json
from awa_lib.reads.overviews import QueueOverview
from awa_lib.runtime.http_worker import FunctionFailed, FunctionRefused, HttpWorker
from awa_lib.runtime.outcomes import _seconds
from awa_lib.runtime.progress import Progress
from awa_lib.schema.roles import role_name
from awa_lib.validation import moment_of

SECRET = b"k" * 32
LONGEST_REFUSAL = 1_000_000


@dataclass(frozen=True)
class Parser:
    """A parser: what it is fed, and what it may raise."""

    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], object]
    refusals: tuple[type[Exception], ...] = (awa.AwaError,)
    grow: tuple[Callable[[int], Any], ...] = field(default=(), kw_only=True)
    """Inputs of a size that must not take the square of its time."""
    cost: float = field(default=1, kw_only=True)
    """How many times an input of this parser is dearer than of others."""


PARSERS: dict[str, Parser] = {}


def parser(
    name: str, *inputs: st.SearchStrategy[Any], **more: Any
) -> Callable[[Callable[[Any], object]], Callable[[Any], object]]:
    def keep(read: Callable[[Any], object]) -> Callable[[Any], object]:
        PARSERS[name] = Parser(name, st.one_of(*inputs), read, **more)
        return read

    return keep


def feed(one: Parser, given: Any) -> bool:
    """Read an input; return whether it was refused.  Any other error is a fault."""
    refusal = ""
    try:
        one.read(given)
    except one.refusals as error:
        refusal = str(error) or type(error).__name__
    assert "\n" not in refusal, "a sentence has one line"
    assert len(refusal) < LONGEST_REFUSAL
    return bool(refusal)


def utf8(text: str) -> bool:
    """Whether a file can have the text in it."""
    return text.encode(errors="replace").decode() == text


# Filters of jobs.
NAMES = [one.name for one in FIELDS]
FILTERS = mutated(
    "state:failed,running kind:email since:2h", 'args.to.name="Ada B" metadata.n=42', 'error:"a b"',
    "tag:x queue:y until:2026-01-01T00:00:00Z", "sort:-id", 'args."a b".c={"x": [1]}',
)  # fmt: skip
FIELD_VALUES = mutated(
    "failed,running", "2h", "1h30m", "2026-01-01T00:00:00+01:00", "2026-01-01", "args.a.b=1",
    'metadata.x="y"', "args.a=[1,{}]", "90 ago",
)  # fmt: skip
PAIRS = st.lists(st.tuples(st.sampled_from([*NAMES, "nope", ""]), FIELD_VALUES), max_size=5)


@parser("filter text", FILTERS, grow=(
    lambda n: "kind:" + "a" * n, lambda n: '"' * n, lambda n: "args." + "a." * (n // 2) + "a=1",
    lambda n: " ".join(["args.a=1"] * (n // 9)), lambda n: "\\" * n, lambda n: 'a"' * (n // 2),
    lambda n: "state:" + ",".join(["failed"] * (n // 7)), lambda n: "args.a=" + "[" * n,
))  # fmt: skip
def _(text: str) -> None:
    for read in Read:
        given = text_pairs(text, read)
        add_word(text, "kind", text)
        complete_filter(text, {"kind": ["email"], "tag": [text]}, read)
        query = TEXT.read(given, read)
        if read is Read.JOBS and "since" not in query and "until" not in query:
            assert read_text(TEXT.write(given)) == query


@parser("filter options", PAIRS)
def _(given: list[tuple[str, str]]) -> None:
    for spelling in (OPTIONS, QUERY_STRING, TEXT):
        for read in Read:
            query = spelling.read(given, read)
            if read is Read.BULK:
                spelling.bulk(query)
        try:
            again = pairs_of(query)
        except ValueError:  # what no condition names
            continue
        spelling.write(again)


# Times, rates and numbers.
@parser("duration", mutated("90", "1.5s", "10m", "2h30m", "7d", "100ms", "2w"), grow=(
    lambda n: "1s" * (n // 2), lambda n: "1" * n, lambda n: "1." + "1" * n, lambda n: "1" * n + "x",
))  # fmt: skip
def _(text: str) -> None:
    assert timedelta() <= values.read_duration(text, "--age")
    values.read_interval(text)


@parser("moment", mutated(
    "2030-01-31T08:00:00+01:00", "2030-01-31", "2030-01-31 08:00", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "2030-W01-1", "20300131T080000,5Z",
), grow=(lambda n: "2030-01-31T08:00:00." + "1" * n,))  # fmt: skip
def _(text: str) -> None:
    moment = values.read_moment(text, "--at")
    assert moment.tzinfo is not None
    assert values.read_moment(moment.isoformat(), "--at") == moment


@parser("moment of the library", JSON | mutated("2030-01-31T08:00:00Z") | st.datetimes())
def _(value: object) -> None:
    assert moment_of(value).tzinfo is UTC


@parser("rate", mutated("50/s", "600/m", "50/s:100", "0.5/h"), grow=(lambda n: "1" * n,))
def _(text: str) -> None:
    values.read_rate(text, "--max-rate")


@parser("queue with a number", mutated("email", "email=20", "a=b=3"), grow=(
    lambda n: "q=" + "9" * n, lambda n: "=" * n,
))  # fmt: skip
def _(text: str) -> None:
    _, number = values.read_queue(text)
    assert number is None or 0 < number <= 100_000


@parser("ids", st.lists(mutated("1", "42", "9223372036854775807"), max_size=4), grow=(
    lambda n: ["9" * n], lambda n: ["1"] * n,
))  # fmt: skip
def _(words: list[str]) -> None:
    assert all(0 <= one < 2**63 for one in read_ids([one for one in words if one != "-"]))


@parser("condition of a queue", mutated(
    "lag>60s", "email.failed>=10", "paused=true", "a.b.available!=1e3", "failed == nan",
), grow=(lambda n: "a." * n + "failed>1", lambda n: "failed>" + "9" * n, lambda n: "a" * n,
         lambda n: "failed>" + " " * n))  # fmt: skip
def _(text: str) -> None:
    read_condition(text, QueueOverview, "queue")


@parser("size of a screenshot", mutated("160x45", "80x24"))
def _(text: str) -> None:
    read_size(text)


# Schedules.
CRON = mutated(
    "*/5 * * * *", "0 8 * * 1-5", "0 0 29 2 *", "@daily", "30 4 1,15 * 5", "0 0 * * 5L", "0 0 L * *",
    "*/10 * * * * *", "0 0 * * fri#2", "59 23 31 12 7", "0-59/2 0-23 * jan-dec sun",
)  # fmt: skip
ZONES = mutated("UTC", "Europe/Paris", "America/St_Johns", "Pacific/Apia", "Etc/GMT+12", "utc")


@parser("cron expression", st.tuples(CRON, ZONES, st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30))),
    cost=20, grow=(
        lambda n: ("1," * n + "1 * * * *", "UTC", datetime(2030, 1, 1)),
        lambda n: ("* " * n, "UTC", datetime(2030, 1, 1)),
        lambda n: ("0-59/" + "9" * n + " * * * *", "UTC", datetime(2030, 1, 1)),
        lambda n: ("* * * * *", "a/" * n, datetime(2030, 1, 1)),
    ))  # fmt: skip
def _(given: tuple[str, str, datetime]) -> None:
    text, zone, moment = given
    expression = CronExpression(text, zone)
    moment = moment.replace(tzinfo=UTC)
    ahead = expression.upcoming(moment, 2)
    assert ahead == sorted(ahead)
    assert all(one > moment for one in ahead)
    assert all(one <= moment for one in expression.latest(moment - timedelta(days=1), moment))


@parser("cron in words", CRON)
def _(text: str) -> None:
    assert isinstance(in_words(text), str)


# JSON: options, bodies, rows, arguments of Python, unique keys.
@parser("json option", JSON_TEXT.filter(lambda text: text[:1] not in {"@", "-"}), grow=(
    lambda n: "[" * n, lambda n: "[" * n + "]" * n, lambda n: "1" * n, lambda n: '"' + "\\u0061" * n + '"',
    lambda n: "{" + ",".join(f'"{i}":{i}' for i in range(n // 10)) + "}",
))  # fmt: skip
def _(text: str) -> None:
    value = values.read_json(text, "--args")
    values.read_object(text, "--args")
    stored = encode_object(value, name="args")
    assert _json.loads(stored) is not None


@parser("body of a request", st.binary(max_size=60) | JSON_TEXT.map(lambda text: text.encode(errors="replace")),
        refusals=(Refused,))  # fmt: skip
def _(body: bytes) -> None:
    read_body(body)


@parser("json of a row", STORED, refusals=(), grow=(
    lambda n: "[" * n + "]" * n, lambda n: "1" * n, lambda n: f"[{'1' * n}]", lambda n: "-1e" + "9" * n,
))  # fmt: skip
def _(text: str) -> None:
    for read in (as_data, as_members, as_entries, as_queues):
        _json.dumps(read(text))


KEYS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9)
    | st.binary(max_size=5) | st.datetimes() | st.timedeltas() | st.decimals() | st.uuids()
    | st.complex_numbers() | st.sampled_from([Path("a"), Path, 10**4_000, Decimal("sNaN")]),
    lambda some: st.lists(some, max_size=3) | st.tuples(some, some)
    | st.dictionaries(st.text(max_size=4) | st.integers() | st.none() | st.floats(), some, max_size=3),
    max_leaves=8,
)  # fmt: skip


def _deep(n: int) -> Any:
    value: Any = 1
    for _ in range(n):
        value = [value]
    return {"a": value}


@parser("args of an enqueue", KEYS, grow=(
    lambda n: {"a": "x" * n}, lambda n: {"a": [1.5] * n}, lambda n: {str(i): i for i in range(n // 10)},
    lambda n: _deep(min(n, 20_000)),
))  # fmt: skip
def _(value: Any) -> None:
    text = encode(value)
    assert encode(_json.loads(text)) == text or any(map(str.isdigit, text))


OPTION_VALUES = JSON | st.datetimes() | st.timedeltas() | WILD


@parser("options of an enqueue", st.fixed_dictionaries({"kind": OPTION_VALUES}, optional=dict.fromkeys(("queue", "priority", "max_attempts", "tags", "metadata", "run_at", "unique_opts", "concurrency_key"), OPTION_VALUES)))  # fmt: skip
def _(given: dict[str, Any]) -> None:
    new_jobs.check([{"a": 1}], **given)


@parser("unique options", JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(("by_queue", "by_args", "by_period", "states", "by_arg"), JSON)))  # fmt: skip
def _(given: Any) -> None:
    UniqueOptions.parse(given)


@parser("args of a unique key", JSON,
        grow=(lambda n: {"a": 1e-300, "b": "x" * n},))  # fmt: skip
def _(value: Any) -> None:
    text = encode_object({"a": value}, name="args")
    assert isinstance(canonical_json(_json.loads(text)), str)


@dataclasses.dataclass
class Inner:
    at: datetime
    tags: list[str] = field(default_factory=list)


class Typed(TypedDict, total=False):
    n: int
    when: date | None


@dataclass
class Args:
    to: str
    n: int = 0
    f: float = 0.0
    d: Decimal | None = None
    u: UUID | None = None
    span: timedelta | None = None
    b: bytes | None = None
    inner: Inner | None = None
    more: Typed | None = None
    maybe: int | str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    pair: tuple[int, str] | None = None


ARG_VALUES = JSON | mutated(
    "2030-01-31T08:00:00Z", "P1D", "1.5", "8feaec61-ea03-4e4c-ab3d-f63350329dc6"
)
DECODERS = [decoder(Args), decoder(Typed), decoder(Inner)]


@parser("args of a handler", JSON | st.fixed_dictionaries({}, optional={
    one.name: ARG_VALUES for one in dataclasses.fields(Args)
} | {"at": ARG_VALUES, "tags": ARG_VALUES, "when": ARG_VALUES}))  # fmt: skip
def _(value: Any) -> None:
    for decode in DECODERS:
        decode(value)


@parser("progress of a row", st.tuples(STORED, st.integers(), WILD, JSON),
        refusals=(awa.AwaError, RuntimeError))  # fmt: skip
def _(given: tuple[str, int, str, Any]) -> None:
    text, percent, message, value = given
    progress = Progress.of_text(text)
    assert progress is not None
    _json.loads(progress.with_percent(percent, message).text)
    _json.loads(progress.with_metadata({"a": value}).text)


# Connections.
ADDRESSES = mutated(
    "postgresql://app:secret@db.example:5432/app?sslmode=require", "postgres://a@/b", "service=x",
    "host=/tmp port=5432 dbname='a b' user=x password='it''s'", "postgresql://u:p@h1:1,h2:2/d",
    "postgresql://[::1]:5432/db", "postgresql://%2Ftmp/db", "postgresql:///?host=/x&options=-c%20a",
)  # fmt: skip


@parser("database URL", ADDRESSES, grow=(
    lambda n: "postgresql://" + "a" * n, lambda n: "postgresql://" + ":" * n + "@h/d",
    lambda n: "postgresql://u@" + "h:1," * (n // 4) + "h/d", lambda n: "a=" + "\\" * n,
))  # fmt: skip
def _(text: str) -> None:
    read_address(text)
    assert describe(text).label


@parser(
    "reference to a secret", mutated("env:PATH", "cmd:true", "cmd:'", "env:", "cmd:").filter(utf8)
)
def _(text: str) -> None:
    if not text.startswith("cmd:") or len(shlex_words(text)) == 0:
        resolve(text, "the password")


def shlex_words(text: str) -> list[str]:
    """The command that would run: none runs here."""
    try:
        return shlex.split(text.removeprefix("cmd:"))
    except ValueError:
        return []


@parser("prefix of roles", mutated("app_", "", "A-b"))
def _(text: str) -> None:
    assert text == role_name("", text)


# Files of people.
def in_file(read: Callable[[Path], object], name: str) -> Callable[[str | bytes], object]:
    """Return a reader of what a file of this name has in it."""

    def reader(given: str | bytes) -> object:
        with tempfile.TemporaryDirectory(prefix="awa-input-") as folder:
            path = Path(folder, name)
            raw = given if isinstance(given, bytes) else given.encode(errors="surrogatepass")
            path.write_bytes(raw)
            path.chmod(0o600)
            return read(path)

    return reader


CONFIG = """current = "staging"
[contexts.staging]
url = "postgresql://app@db/app"
password = "env:X"
color = "yellow"
protected = false
[tui]
theme = "awa-light"
interval = "5s"
[tui.keys]
"queue.pause" = "P"
"""
DEEP = (
    lambda n: "a = " + "[" * n,
    lambda n: "a = " + "[" * n + "]" * n,
    lambda n: "a = " + "{a=" * n,
)


def _config(path: Path) -> None:
    with patch.dict(os.environ, {"AWA_CONFIG": str(path)}):
        before = read_config()
        change_config(put=Context("new", "postgresql://x@y/z"), use="new")
        after = read_config()
    assert after.current == "new"
    assert after.contexts == before.contexts | {"new": Context("new", "postgresql://x@y/z")}
    assert after.tui == before.tui


parser("config file", mutated(CONFIG) | st.binary(max_size=40), cost=3, grow=DEEP)(
    in_file(_config, "config.toml")
)
ACCESS = f"""[users.alice]
password = "scrypt:16384:8:1:{"0" * 32}:{"a" * 64}"
scope = "operate"
[tokens.deploy]
sha256 = "{"b" * 64}"
scope = "read"
[proxy]
header = "X-Forwarded-User"
from = ["10.0.0.5/32"]
scope = "operate"
"""
parser("access file", mutated(ACCESS) | st.binary(max_size=40), cost=3, grow=DEEP)(
    in_file(parse_access, "access.toml")
)
SCHEDULES = """schedules:
- name: nightly
  cron_expr: 0 3 * * *
  timezone: Europe/Paris
  kind: report
  args: {to: [a, 1.5, null]}
  tags: [x]
  paused: true
"""
BOMB = "\n".join(
    ["x0: &x0 [1,1,1,1,1,1,1,1,1,1]"]
    + [f"x{n}: &x{n} [{','.join([f'*x{n - 1}'] * 10)}]" for n in range(1, 12)]
    + ["schedules: [{name: a, kind: k, cron_expr: '@daily', args: {a: *x11}}]"]
)
YAMLS = mutated(SCHEDULES, BOMB, "schedules: &a [*a]", "schedules: [{name: &n {a: *n}}]", "? [a]\n: b",
                "schedules: [{name: 2026-01-01, kind: !!binary aGk=, cron_expr: 1e3}]")  # fmt: skip
parser("schedules in YAML", YAMLS | st.binary(max_size=40), cost=5, grow=(
    lambda n: "schedules: " + "[" * n, lambda n: "schedules:\n" + "".join(
        f"- {{name: n{i}, kind: k, cron_expr: '@daily'}}\n" for i in range(n // 50)),
))(in_file(lambda path: read_file(str(path)), "cron.yaml"))  # fmt: skip
parser("schedules in TOML", mutated(
    '[[schedules]]\nname = "n"\nkind = "k"\ncron_expr = "@daily"\nargs = {a = 1979-05-27, b = inf}\n',
    '[[schedules]]\nname = "n"\nkind = "k"\ncron_expr = "@daily"\ntags = ["x"]\npriority = 3\n',
), cost=3, grow=DEEP)(in_file(lambda path: read_file(str(path)), "cron.toml"))  # fmt: skip


def _saved(path: Path) -> None:
    state = SavedState(describe("dbname=x"), path)
    state.get("theme")
    state.put("theme", "x")
    assert state.get("theme") == "x"


parser("saved state of the monitor", JSON_TEXT | st.binary(max_size=40), refusals=(), grow=(
    lambda n: "[" * n, lambda n: '{"x":' * n,
))(in_file(_saved, "tui-state.json"))  # fmt: skip


# The command.
ROW = {"id": 7, "kind": "k", "args": {"a": [1, {"b": None}], "x.y": 2}, "tags": ["t"], "at": None}


@parser("output format", mutated("table", "json", "template={id} {args.a.0}\\n", "template={{x}}"), grow=(
    lambda n: "template=" + "{" * n, lambda n: "template=" + "\\" * n, lambda n: "template=" + "{}" * n,
))  # fmt: skip
def _(text: str) -> None:
    shape = read_shape(text)
    if not shape.for_people:
        write_data([ROW], shape, [], lambda _: None, ascii_only=False, at_terminal=True)


@parser("columns", mutated("id,kind", "args.a.0,args.a.1.b", "tags.0", "tags.99999999999999999999"), grow=(
    lambda n: "args" + ".a" * n, lambda n: "tags." + "9" * n, lambda n: "," * n,
))  # fmt: skip
def _(text: str) -> None:
    for column in read_columns(text):
        field_of(ROW, column)


@parser("redaction", mutated("password|token", "(?i)x", "[a-z]{1,3}"), grow=(
    lambda n: "(" * n, lambda n: "(" * n + ")" * n,
))  # fmt: skip
def _(text: str) -> None:
    redactor = read_redactor(text)
    if redactor is not None:
        redactor.document({"args": {"password": 1}})


@parser("module and client", mutated(
    "shop:client", "json:loads", "os.path:join.x", "awa_lib:AsyncClient", "awa_lib..x:y", "..:a", "a b:c",
))  # fmt: skip
def _(text: str) -> None:
    module = text.partition(":")[0].partition(".")[0]
    # What imports runs: only names that are no module, and a few that are.
    if module in {"json", "os", "awa_lib"} or module not in sys.stdlib_module_names:
        with patch.object(sys, "path", list(sys.path)), patch("sys.stderr"):
            load_client(text)


@parser("traceback of an error", st.text(st.characters(), max_size=80) | mutated(
    'Traceback (most recent call last):\n  File "/x/y.py", line 3, in f\n    g()\nValueError: no',
), refusals=(), grow=(
    lambda n: '  File "' * n, lambda n: '  File "a", line ' + "9" * n, lambda n: "\n" * n, lambda n: " " * n,
))  # fmt: skip
def _(text: str) -> None:
    read_trace(text)


@parser("address of probes", mutated("8080", "127.0.0.1:8080", "[::1]:80", ":80", "localhost:0"), grow=(
    lambda n: "9" * n,
))  # fmt: skip
def _(text: str) -> None:
    _, port = read_probe(text)
    assert 0 <= port < 2**16


@parser("path prefix", mutated("/awa", "/tools/awa/", "/", "/a/../b", "//evil", "/%2f"), grow=(
    lambda n: "/a" * n, lambda n: "/" * n, lambda n: "/." * n,
))  # fmt: skip
def _(text: str) -> None:
    assert all(one < "\x7f" for one in read_prefix(text, "it"))


@parser("host and origin", mutated("jobs.example.org:80", "[::1]:3000", "http://a:1", "[::ffff:1.2.3.4]"), refusals=(), grow=(
    lambda n: "a" * n, lambda n: "." * n, lambda n: "[" + ":" * n + "]", lambda n: "a:" + "9" * n,
))  # fmt: skip
def _(text: str) -> None:
    parse_host(text)
    parse_origin(text)
    is_loopback(text)


@parser("network of a proxy", mutated("10.0.0.5", "10.0.0.0/24", "fd00::/64", "::ffff:10.0.0.0/120", "localhost"), grow=(
    lambda n: "1" * n, lambda n: ":" * n, lambda n: "10.0.0.0/" + "9" * n,
))  # fmt: skip
def _(text: str) -> None:
    parse_networks([text])


# The web: parameters and bodies of every endpoint.
PARAMETERS = [
    (schema, name)
    for one in table().endpoints
    for name, schema in {
        **one.path_schemas,
        **(one.query_schemas if one.method == "GET" else {}),
    }.items()
]
BODIES = [one for one in table().endpoints if one.method == "POST"]
WORDS = mutated("1", "failed", "true", "2h", "2030-01-31T08:00:00Z", "email", "a.b", "1.5",
                "8feaec61-ea03-4e4c-ab3d-f63350329dc6")  # fmt: skip


@parser(
    "parameter of an endpoint",
    st.tuples(st.sampled_from(PARAMETERS), st.lists(WORDS, min_size=1, max_size=3)),
)
def _(given: tuple[tuple[dict[str, Any], str], list[str]]) -> None:
    (schema, name), texts = given
    from_text(schema, texts, name)


BODY = st.sampled_from(BODIES).flatmap(
    lambda one: st.tuples(
        st.just(one),
        JSON
        | st.fixed_dictionaries(
            {},
            optional={name: JSON | WORDS | st.lists(JSON, max_size=2) for name, _, _ in one.members}
            | {"nope": JSON},
        ),
    )
)


@parser("members of a body", BODY)
def _(given: tuple[Any, Any]) -> None:
    one, value = given
    check_object(one.body_schema, value, "the body")


@parser("query string or form", mutated("a=1&b=2&a=3", "state=failed&tag=%C3%A9", "a=%ff", "+=%2B&&=") , grow=(
    lambda n: "a=1&" * n, lambda n: "%" * n, lambda n: "&" * n, lambda n: "a" * n,
))  # fmt: skip
def _(text: str) -> None:
    text = text.encode(errors="replace").decode("latin-1")
    read_pairs(text, blank=True)
    read_params(text, "the form")


@parser("name in a path", UTF8 | mutated(".", "..", "~2e", "a/b", "~"), refusals=())
def _(text: str) -> None:
    segment = step(text.encode(errors="replace").decode())
    assert "/" not in segment
    assert segment not in {".", ".."}


# Callbacks.
ID = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"
SIGNED = signatures.sign_callback_request(SECRET, ID, "complete", b"{}", now=1_900_000_000)
SIGNATURES = mutated(SIGNED, signatures.sign_callback(SECRET, ID), f"t=1,n={'0' * 32},s={'0' * 64}")


@parser("signature of a callback", st.tuples(WILD, SIGNATURES, st.binary(max_size=20)), grow=(
    lambda n: ("a" * n, "a" * n, b"x" * n), lambda n: ("a", "t=" + "1" * n, b""),
))  # fmt: skip
def _(given: tuple[str, str, bytes]) -> None:
    callback_id, signature, body = given
    assert not signatures.verify_callback_signature(SECRET, callback_id, signature)
    check = signatures.verify_callback_request(SECRET, callback_id, "fail", body, signature)
    # It ends without a look into the database.
    assert next(check, "ended") == "ended"


@parser("secret of callbacks", WILD | mutated("ab" * 32) | st.binary(max_size=40))
def _(secret: str | bytes) -> None:
    assert len(signatures.secret_key(secret)) == 32


# Functions behind HTTP.
URLS = mutated(
    "https://functions.example:8443/resize", "http://[::1]:80/x", "http://user:pw@host/", "ftp://x",
    "http://xn--e1afmkfd.example/", "http://é.example/", "http://host:0/", "http://.../",
)  # fmt: skip


@parser("url of a function", URLS, grow=(
    lambda n: "http://" + "a" * n, lambda n: "http://" + "a." * n, lambda n: "http://" + "é" * n,
    lambda n: "http://h/" + "%" * n, lambda n: "http://" + "[" * n,
))  # fmt: skip
def _(text: str) -> None:
    worker = HttpWorker(url=text, mode="sync", headers={"X-A": "b"}, secret=SECRET)
    try:
        asyncio.run(_asked(worker, 200, {}))
    except (FunctionFailed, FunctionRefused):
        pass


@parser("headers of a function", st.dictionaries(mutated("X-A", "Content-Type"), WILD, max_size=2))
def _(headers: dict[str, str]) -> None:
    worker = HttpWorker(url="http://functions.example", mode="sync", headers=headers)
    try:
        asyncio.run(_asked(worker, 200, {}))
    except FunctionRefused:
        pass


class Sent:
    """A job as a function gets it."""

    id, kind, args, attempt, max_attempts = 1, "k", {"a": 1}, 1, 1


async def _asked(worker: HttpWorker, status: int, headers: dict[str, str]) -> object:
    # The library's transport of tests: an answer as it may come over the network.
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    worker._client = httpx.AsyncClient(
        transport=httpx.MockTransport(
            lambda _: httpx.Response(status, headers=raw, stream=httpx.ByteStream(b"\xff\x00no"))
        )
    )
    try:
        return await worker(Sent())  # type: ignore[arg-type]
    finally:
        await worker.aclose()


DATES = mutated(
    "120", "0", email.utils.format_datetime(datetime(2030, 1, 1, tzinfo=UTC), usegmt=True),
    "Fri, 31 Dec 1999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 +9999", "1 Jan 2030 99:99",
)  # fmt: skip


@parser("answer of a function", st.tuples(
    st.sampled_from([200, 204, 301, 302, 400, 404, 408, 425, 429, 500, 503, 599]), DATES,
), refusals=(FunctionFailed, FunctionRefused), grow=(
    lambda n: (429, "9" * n), lambda n: (429, " " * n), lambda n: (429, "(" * n), lambda n: (429, "," * n),
    lambda n: (429, "Mon, " * n),
))  # fmt: skip
def _(given: tuple[int, str]) -> None:
    status, text = given
    text = "".join(one for one in text if ord(one) < 256)
    worker = HttpWorker(url="http://functions.example", mode="sync")
    answer = asyncio.run(_asked(worker, status, {"Retry-After": text, "Location": text}))
    if isinstance(answer, awa.RetryAfter):
        assert 0 <= answer.seconds <= 86_400


# Workers.
QUEUES = st.lists(
    st.tuples(WILD, st.integers() | JSON)
    | st.fixed_dictionaries({"name": WILD}, optional=dict.fromkeys(("max_workers", "min_workers", "weight", "priority", "poll_interval_ms", "deadline_seconds", "rate_limit", "nope"), JSON))
    | JSON, max_size=2,
)  # fmt: skip


@parser("queues of a worker", st.tuples(QUEUES, st.dictionaries(
    st.sampled_from(["global_max_workers", "leader_election_interval_ms", "poll_interval_ms", "nope",
                     "heartbeat_interval_ms", "promote_interval_ms", "completed_retention_hours"]),
    JSON, max_size=2)), refusals=(ValueError, TypeError))  # fmt: skip
def _(given: tuple[list[Any], dict[str, Any]]) -> None:
    queues, options = given
    WorkerOptions.build(queues, [], **options)


DELAYS = JSON | st.decimals() | WILD


@parser("delay of a retry", DELAYS, refusals=(ValueError, TypeError))
def _(seconds: Any) -> None:
    assert 0 <= _seconds(seconds) < 4e9


@parser("backoff", st.tuples(DELAYS, DELAYS, DELAYS))
def _(given: tuple[Any, Any, Any]) -> None:
    first, factor, most = given
    policy = awa.exponential(first, factor=factor, most=most)
    assert 0 <= policy.seconds(1_000, random.Random(1)) < 4e9
