"""Programs in the guides run as they stand, and print what the guide says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\nIt prints:\n\n```\n(.*?)```)?", re.S)

PROGRAMS = [
    pytest.param(match[1], match[2], id=f"{path.stem}-{number}")
    for path in sorted([*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")])
    for number, match in enumerate(BLOCK.finditer(path.read_text(encoding="utf-8")), 1)
    if re.search("^import awa_lib", match[1], re.M)
]


def test_each_topic_has_a_program() -> None:
    topics = {
        "enqueueing", "handlers", "retries", "uniqueness", "callbacks", "cron", "concurrency",
        "testing", "transactions", "events", "dead-letters", "bulk-operations", "observability",
    }  # fmt: skip
    named = {program.id.rpartition("-")[0] for program in PROGRAMS}

    assert topics - named == set()


@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_program_of_a_guide(
    program: str, printed: str | None, database_url: str, tmp_path: Path
) -> None:
    """A program imports awa_lib; other blocks are fragments."""
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "DATABASE_URL": database_url, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert printed is None or done.stdout == printed
