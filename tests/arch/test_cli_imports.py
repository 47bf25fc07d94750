"""What each command may load: start-up time is imports."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from fix_cli import argv, environment

HEAVY = ("psycopg", "psycopg_pool", "rich", "textual", "croniter", "yaml", "asyncio",
         "starlette", "uvicorn", "jinja2", "opentelemetry", "pydantic", "blake3",
         "awa_lib.client", "awa_lib.runtime", "awa_lib.embedded")  # fmt: skip
SCRIPT = """
import sys
from awa_cli.main import main
status = main(sys.argv[2:])
print([name for name in sys.argv[1].split(",") if name in sys.modules], file=sys.stderr)
sys.exit(status)
"""


BARE = [sys.executable, "-c", "import asyncio"]


def loaded(args, allowed, url=None) -> tuple[int, str]:
    """Run a command and return what it loaded of the heavy modules it must not."""
    names = ",".join(name for name in HEAVY if name not in allowed)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, names, *args],
        env=environment(url), capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "line", [["--version"], ["--help"], ["job", "--help"], ["job", "list", "--help"], ["nope"]]
)
def test_help_and_version_load_nothing_heavy(line) -> None:
    assert loaded(line, ())[1] == "[]"


@pytest.mark.parametrize("line", [["job", "list"], ["queue", "stats"], ["storage", "status"]])
def test_a_command_in_a_pipe_loads_psycopg_alone(line, database_url) -> None:
    # psycopg itself imports asyncio.
    assert loaded(line, ("psycopg", "asyncio"), database_url) == (0, "[]")


@pytest.mark.parametrize(
    ("line", "bound"), [(["--version"], 2.5), (["--help"], 4.5), (["job", "list"], 8)]
)
def test_start_up_stays_within_its_budget(line, bound, database_url) -> None:
    """CPU time against that of a bare ``import asyncio`` (30 ms), the best of five pairs.

    A busy machine makes both slower: a second of CPU is not the same work there.
    """
    environ = environment(database_url)
    pairs = [(cpu_seconds([*argv(*line)], environ), cpu_seconds(BARE, environ)) for _ in range(5)]

    assert min(ours for ours, _ in pairs) < bound * min(bare for _, bare in pairs)


def cpu_seconds(command, environ) -> float:
    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = spent()
    subprocess.run(command, env=environ, check=True, capture_output=True, timeout=30)
    return spent() - before
