"""Programs in the guides run as they stand, and print what the guide says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
PROGRAM = re.compile(r"```python\n(import awa_lib.*?)```\n(?:\nIt prints:\n\n```\n(.*?)```)?", re.S)

PROGRAMS = [
    pytest.param(match[1], match[2], id=f"{path.stem}-{number}")
    for path in sorted(GUIDES.glob("*.md"))
    for number, match in enumerate(PROGRAM.finditer(path.read_text(encoding="utf-8")), 1)
]


@pytest.mark.parametrize(("program", "printed"), PROGRAMS)
def test_program_of_a_guide(
    program: str, printed: str | None, database_url: str, tmp_path: Path
) -> None:
    """A program starts with ``import awa_lib``; blocks that start otherwise are fragments."""
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
