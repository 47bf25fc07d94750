"""Programs written for the published wheel see the same with it and with ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
BETTER = {
    # The inserted job holds its args as they were given.
    "program": {"insert"},
    "helpers": {
        # A datetime in args is RFC 3339 text.
        "stamped",
        # args and metadata of the row are objects on every connection, not text on some.
        "asyncpg", "django",
        # The state that a worker leaves a snoozed job in.
        "snooze",
    }
}  # fmt: skip
"""What differs on purpose; ``docs/guides/from-awa.md`` says so."""


def told(stdout: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("[")]
    return {name: values for name, *values in lines}


@pytest.mark.parametrize(("name", "told_at_least"), [("program", 50), ("helpers", 35)])
def test_a_program_for_awa_runs_unchanged(
    interop, database_url, empty_database_url, name: str, told_at_least: int
) -> None:
    program = (HERE / f"published_{name}.py").read_text()
    there = told(interop.python(program, url=empty_database_url, timeout=120).stdout)
    ours = program.replace("\nimport awa\n", "\nimport awa_lib as awa\n")
    ours = re.sub(r"\nfrom awa\.", "\nfrom awa_lib.", ours)
    done = subprocess.run(
        [sys.executable, "-c", ours],
        env={**os.environ, "DATABASE_URL": database_url}, text=True, capture_output=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    here = told(done.stdout)

    assert len(here) >= told_at_least
    assert {what for what in there if here.get(what) != there[what]} == BETTER.get(name, set())
