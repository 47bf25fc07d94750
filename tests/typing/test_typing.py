"""What users' type checkers see: good programs pass, each wrong line is found."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def mypy(program: Path) -> set[int]:
    """Return the lines with errors."""
    line = [
        "mypy",
        "--strict",
        "--config-file=",
        "--cache-dir",
        str(ROOT / ".mypy_cache" / "typing"),
    ]
    done = run(*line, "--no-error-summary", str(program))
    found = re.findall(rf"{re.escape(program.name)}:(\d+): error", done.stdout)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    assert bool(found) == bool(done.returncode), done.stdout
    return set(map(int, found))


def pyright(program: Path) -> set[int]:
    """Return the lines with errors."""
    level = ["--level", "error", "--outputjson", "--pythonpath", sys.executable]
    done = run("basedpyright", *level, str(program))
    return {
        found["range"]["start"]["line"] + 1
        for found in json.loads(done.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    }


def run(module: str, *args: str) -> subprocess.CompletedProcess[str]:
    # Both checkers find their interpreter's packages, the library's annotations among them.
    command = [sys.executable, "-m", module, *args]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("check", [mypy, pyright])
def test_a_good_program_passes(check) -> None:
    assert check(HERE / "good.py") == set()


@pytest.mark.parametrize("check", [mypy, pyright])
def test_every_wrong_line_is_found_and_no_other(check) -> None:
    program = HERE / "bad.py"
    wrong = {
        number
        for number, line in enumerate(program.read_text().splitlines(), 1)
        if "# wrong:" in line
    }

    assert check(program) == wrong
