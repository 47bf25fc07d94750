"""What each class of command may load: start-up time is imports, measured in benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from fix_cli import environment

SCRIPT = """
import json, sys
from awa_cli.main import main
status = main(sys.argv[1:])
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""
# Of the standard library and of ours, what takes milliseconds.
WATCHED = {
    "asyncio", "email", "html", "http", "logging", "multiprocessing", "sqlite3", "ssl", "tomllib",
    "unittest", "xml", "zoneinfo", "awa_lib.bridge", "awa_lib.client.clients", "awa_lib.embedded",
    "awa_lib.runtime", "awa_lib.testing",
}  # fmt: skip
NOTHING = {"awa_cli"}
PARSING = {"awa_cli", "awa_lib", "typer", "annotated_doc", "shellingham"}
# psycopg itself loads the parts of the standard library.
DATABASE = {*PARSING, "psycopg", "psycopg_binary", "typing_extensions", "orjson", "asyncio",
            "email", "logging", "ssl", "zoneinfo"}  # fmt: skip
UUID = "8feaec61-ea03-4e4c-ab3d-f63350329dc6"


def loaded(line, url=None) -> set[str]:
    """Run a command in a pipe; return the packages and the watched modules it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *line],
        env=environment(url), capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    _, modules = json.loads(done.stderr.splitlines()[-1])
    packages = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    installed = {name for name in packages if not name.startswith("_")} - {"cython_runtime"}
    return (installed | WATCHED.intersection(modules)) - {"sitecustomize"}


def test_the_version_loads_next_to_nothing() -> None:
    assert loaded(["--version"]) <= {*NOTHING, "email"}  # of importlib.metadata


@pytest.mark.parametrize(
    "line",
    [
        ["--help"], ["job", "--help"], ["job", "list", "--help"], ["nope"], ["job", "lst"],
        ["job", "list", "-o", "xml"], ["queue", "list"], ["callback", "sign", UUID],
    ],
)  # fmt: skip
def test_what_needs_no_database_loads_the_parser_alone(line) -> None:
    assert loaded(line) <= {*PARSING, "tomllib", "orjson"}


@pytest.mark.parametrize(
    "line",
    [
        ["job", "list"], ["job", "list", "-o", "csv"], ["job", "list", "--all", "-o", "ndjson"],
        ["job", "show", "1"], ["job", "tail"], ["job", "retry", "1"], ["job", "cancel", "--all"],
        ["job", "enqueue", "k"], ["queue", "stats"], ["queue", "show", "q"],
        ["queue", "set", "q", "--max-running", "1"], ["kind", "list"], ["cron", "list"],
        ["cron", "pause", "s"], ["dlq", "list"], ["dlq", "retry", "--all"], ["batch", "list"],
        ["batch", "submit", "retry", "--all"], ["callback", "fail", UUID, "--error", "e"],
        ["workers"], ["health"], ["version", "--check"], ["storage", "status"], ["migrate"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_in_a_pipe_loads_psycopg_alone(line, database_url) -> None:
    assert loaded(line, database_url) <= DATABASE


@pytest.mark.parametrize(
    ("line", "more"),
    [
        (["cron", "next", "0 2 * * *"], {"croniter", "dateutil", "zoneinfo"}),
        (["job", "enqueue", "k", "--unique", "args"], {"blake3", *DATABASE}),
        (["job", "list", "-o", "yaml"], {"yaml", *DATABASE}),
        (["cron", "export", "--format", "toml"], {"tomli_w", *DATABASE}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_one_command_needs_no_other_pays_for(line, more, database_url) -> None:
    assert loaded(line, database_url) <= PARSING | more


SERVE = """
import json, sys
from awa_cli.web.app import create_app
from awa_cli.web import server
app = create_app("postgresql://nowhere", None)
print(json.dumps([0, sorted(sys.modules)]), file=sys.stderr)
"""


def test_a_server_that_begins_loads_what_probes_need_and_no_more() -> None:
    """The rest is loaded in a thread while it listens: pages, API, templates, the doctor."""
    done = subprocess.run(
        [sys.executable, "-c", SERVE],
        env=environment(None),
        capture_output=True,
        text=True,
        timeout=30,
    )
    _, modules = json.loads(done.stderr.splitlines()[-1])
    found = set(modules)
    assert not found & {
        "jinja2", "rich", "textual", "awa_lib.doctor", "awa_lib.client.clients",
        "awa_lib.runtime", "awa_cli.web.api", "awa_cli.web.pages", "awa_cli.web.routes",
    }  # fmt: skip
    assert not {name for name in found if name.startswith("awa_lib.reads.")} - {
        "awa_lib.reads.health"
    }
