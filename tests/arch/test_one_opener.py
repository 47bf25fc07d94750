"""One module opens connections; nobody else reaches for psycopg's own doors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for package in ("awa_lib", "awa_cli")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path != ROOT / "awa_lib/db/connect.py"
]
OPENS = re.compile(r"\b(psycopg|Connection)\.connect\(")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_opens_no_connection_itself(path: Path) -> None:
    assert OPENS.findall(path.read_text()) == []


def test_the_one_that_does_would_be_found() -> None:
    assert OPENS.search((ROOT / "awa_lib/db/connect.py").read_text())
