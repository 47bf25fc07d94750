"""One program, written for the published wheel, sees the same with it and with ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("published_program.py").read_text()


def told(stdout: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("[")]
    return {name: values for name, *values in lines}


def test_a_program_for_awa_runs_unchanged(interop, database_url, empty_database_url) -> None:
    there = told(interop.python(PROGRAM, url=empty_database_url, timeout=120).stdout)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("\nimport awa\n", "\nimport awa_lib as awa\n")],
        env={**os.environ, "DATABASE_URL": database_url}, text=True, capture_output=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    here = told(done.stdout)

    assert len(here) > 50
    assert here == there
